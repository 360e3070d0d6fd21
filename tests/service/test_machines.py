"""Random verbs in random order against slow, obvious models: the job store as it is and behind a
gateway on real sockets, and the registry.

Whatever is asked, by whomever and however often, the answer is the one that the model gives, and
a restart in between changes nothing.
"""

import asyncio
import tempfile
from collections.abc import Callable, Coroutine
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import pytest
from hypothesis import HealthCheck, Phase, assume, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from shared.errors import Conflict, Forbidden, NotFound, UnknownWorker, WorkerSuperseded
from shared.ids import RunId, WorkerId
from shared.protocol import gateway as g
from shared.protocol import registry as r
from shared.protocol.states import Desired, WorkerStatus
from shared.services import Registry, WholeJobService
from tests.support import carriers, registries
from tests.support.jobstore import ANN, BEN, Hands, a_job, hands_on
from tests.support.runtime import ManualRuntime

T = TypeVar("T")

WORKERS = st.sampled_from([ANN, BEN])
NAMES = st.sampled_from(["ann", "ben"])
QUICK = settings(
    max_examples=15,
    stateful_step_count=25,
    deadline=None,
    database=None,
    derandomize=True,
    phases=[Phase.generate],  # to shrink takes minutes; the steps are few as they are
    suppress_health_check=list(HealthCheck),
)


class Machine(RuleBasedStateMachine):
    """Rules are not coroutines: each runs its own on the machine's loop."""

    def __init__(self) -> None:
        super().__init__()
        self._runner = asyncio.Runner()
        self._folder = tempfile.TemporaryDirectory()
        self.folder = Path(self._folder.name)
        self.runtime = ManualRuntime()
        self._stack = AsyncExitStack()
        self.do(self.start())

    def do(self, work: Coroutine[Any, Any, T]) -> T:
        return self._runner.run(work)

    async def enter(self, part: AbstractAsyncContextManager[T]) -> T:
        return await self._stack.enter_async_context(part)

    async def start(self) -> None:
        raise NotImplementedError

    @rule()
    def restart(self) -> None:
        """What was acknowledged is on disk."""
        self.do(self._stack.aclose())
        self.do(self.start())

    def teardown(self) -> None:
        self.do(self._stack.aclose())
        self._runner.close()
        self._folder.cleanup()


@dataclass
class Attempt:
    """What the model knows of a claim."""

    claim: g.Claim
    worker: WorkerId
    state: str = "claimed"  # then running, refused or reported
    code: int | None = None
    receipt: str | None = None

    @property
    def job(self) -> tuple[RunId, str]:
        return self.claim.run_id, self.claim.job_id


class Jobs(Machine):
    """Submit, claim, run, refuse, beat and finish, by the right worker and by the wrong one."""

    # A client forgets a token with the step that it opened, so behind a gateway some rules do
    # only what a worker would: run and refuse a claim once, beat for what runs.
    as_workers_do = False

    async def carried(self, service: WholeJobService) -> carriers.Carrier:
        return await self.enter(carriers.direct(service, self.runtime))

    def __init__(self) -> None:
        self.status: dict[tuple[RunId, str], str] = {}  # in the order of the queue
        self.rests: dict[tuple[RunId, str], WorkerId] = {}  # for whom: it was refused
        self.attempts: list[Attempt] = []
        self.fences: dict[tuple[RunId, str], int] = {}
        self.numbers = 0
        super().__init__()

    async def start(self) -> None:
        served = await self.enter(hands_on(self.folder, self.runtime))
        carried = await self.carried(served.service)
        self.people = Hands(served.service, self.runtime)
        self.workers = {
            name: Hands(_Both(carried.gateway(name), served.service), self.runtime)  # type: ignore[arg-type]  # it has what hands use
            for name in (ANN, BEN)
        }

    @rule()
    def restart(self) -> None:
        """Who refused what is forgotten: it only spares a worker the same refusal at once."""
        super().restart()
        self.rests.clear()

    def number(self) -> int:
        self.numbers += 1
        return self.numbers

    @rule(jobs=st.integers(1, 3))
    def submit(self, jobs: int) -> None:
        names = [f"j{self.number()}" for _ in range(jobs)]
        hands = Hands(self.people.service, self.runtime)
        hands._numbers = iter(range(self.number() * 1_000, 10**9))  # type: ignore[assignment]  # keys differ
        run_id = self.do(hands.submit(*(a_job(name) for name in names)))
        self.status |= {(run_id, name): "queued" for name in names}

    @rule(worker=WORKERS, is_sent_twice=st.booleans())
    def claim(self, worker: WorkerId, is_sent_twice: bool) -> None:
        hands, claim_id = self.workers[worker], f"claim-{self.number()}"

        found = self.do(hands.claim(worker, claim_id=claim_id))
        if is_sent_twice and found:
            again = self.do(hands.claim(worker, claim_id=claim_id))
            assert [c.attempt_id for c in again] == [c.attempt_id for c in found]

        waiting = [
            job
            for job, status in self.status.items()
            if status == "queued" and self.rests.get(job) != worker
        ]
        assert [(c.run_id, c.job_id) for c in found] == waiting[:1]
        for claim in found:
            attempt = Attempt(claim, worker)
            assert claim.fence > self.fences.get(attempt.job, 0)
            self.fences[attempt.job] = claim.fence
            self.status[attempt.job] = "claimed"
            self.attempts.append(attempt)

    @precondition(lambda self: self.attempts)
    @rule(data=st.data(), worker=WORKERS)
    def run(self, data: st.DataObject, worker: WorkerId) -> None:
        attempt = data.draw(st.sampled_from(self.attempts))
        assume(not self.as_workers_do or attempt.state != "running")
        is_right = worker == attempt.worker and attempt.state in ("claimed", "running")

        assert self.is_taken(self.workers[worker].run(attempt.claim, worker)) is is_right

        if is_right:
            attempt.state = self.status[attempt.job] = "running"

    @precondition(lambda self: self.attempts)
    @rule(data=st.data(), worker=WORKERS)
    def refuse(self, data: st.DataObject, worker: WorkerId) -> None:
        attempt = data.draw(st.sampled_from(self.attempts))
        assume(not self.as_workers_do or attempt.state != "refused")
        is_repeated = worker == attempt.worker and attempt.state == "refused"
        is_right = worker == attempt.worker and attempt.state == "claimed"

        is_taken = self.is_taken(self.workers[worker].refuse(attempt.claim, worker))

        assert is_taken is (is_right or is_repeated)
        if is_right:
            attempt.state, self.status[attempt.job] = "refused", "queued"
            self.rests[attempt.job] = worker

    @precondition(lambda self: self.attempts)
    @rule(data=st.data(), worker=WORKERS)
    def beat(self, data: st.DataObject, worker: WorkerId) -> None:
        attempt = data.draw(st.sampled_from(self.attempts))
        assume(not self.as_workers_do or attempt.state != "claimed")
        is_held = (worker, "running") == (attempt.worker, attempt.state)

        verdict = self.do(self.workers[worker].beat(attempt.claim, worker)).verdict

        assert verdict is (g.Verdict.RENEWED if is_held else g.Verdict.GONE)

    @precondition(lambda self: self.attempts)
    @rule(data=st.data(), worker=WORKERS, code=st.integers(0, 1))
    def finish(self, data: st.DataObject, worker: WorkerId, code: int) -> None:
        attempt = data.draw(st.sampled_from(self.attempts))
        is_right = worker == attempt.worker and attempt.state == "running"
        is_repeated = (worker, "reported", code) == (attempt.worker, attempt.state, attempt.code)

        receipts: list[str] = []
        is_taken = self.is_taken(self._finish(attempt, worker, code, receipts))

        assert is_taken is (is_right or is_repeated)
        if is_repeated:
            assert receipts == [attempt.receipt]
        if is_right:
            attempt.state, attempt.code, attempt.receipt = "reported", code, receipts[0]
            self.status[attempt.job] = "failed" if code else "success"

    async def _finish(
        self, attempt: Attempt, worker: WorkerId, code: int, receipts: list[str]
    ) -> None:
        answer = await self.workers[worker].finish(attempt.claim, code, worker)
        assert isinstance(answer, g.Receipt)
        receipts.append(answer.receipt_id)

    def is_taken(self, work: Coroutine[Any, Any, object]) -> bool:
        """Whether it was done; if not, because somebody else was first or is meant."""
        try:
            self.do(work)
        except (Conflict, Forbidden, NotFound):
            return False
        return True

    @invariant()
    def all_is_as_the_model_has_it(self) -> None:
        for run_id in dict.fromkeys(run_id for run_id, _ in self.status):
            view = self.do(self.people.service.show_run(run_id))
            for job in view.jobs:
                assert job.status == self.status[run_id, job.id], job.id


class _Both:
    """The worker's verbs by their carrier, all else by the service."""

    def __init__(self, gateway: object, service: WholeJobService) -> None:
        self._gateway = gateway
        self._service = service

    def __getattr__(self, verb: str) -> Callable[..., Any]:
        found: Callable[..., Any] = getattr(self._gateway, verb, None) or getattr(
            self._service, verb
        )
        return found


class JobsBehindAGateway(Jobs):
    """The same with every verb of a worker on real sockets."""

    as_workers_do = True

    async def carried(self, service: WholeJobService) -> carriers.Carrier:
        return await self.enter(carriers.over_http(service, self.runtime))

    @rule()
    def restart(self) -> None:
        """Not here: the workers' tokens are in clients that end with the sockets."""


class Workers(Machine):
    """Enrol, report and wish at a registry on real sockets, by present and by past incarnations."""

    def __init__(self) -> None:
        self.known: dict[str, r.EnrolReply] = {}
        self.past: list[tuple[str, r.EnrolReply]] = []
        self.desired: dict[str, Desired] = {}
        self.clients: dict[WorkerId, Registry] = {}
        super().__init__()

    async def start(self) -> None:
        service = await self.enter(registries.a_registry(self.folder, self.runtime))
        self.carrier = await self.enter(registries.over_http(service, self.runtime))

    @rule()
    def restart(self) -> None:
        """Clients lose their tokens with it: workers that are known enrol again."""
        super().restart()
        self.clients.clear()
        for name in list(self.known):
            self.enrol(name)

    @rule(name=NAMES)
    def enrol(self, name: str) -> None:
        client = self.carrier.worker()
        ask = r.EnrolRequest(name=name, host="h", pid=1, version="1", labels={}, slots=2)

        answer = self.do(client.enrol(ask))

        if (before := self.known.get(name)) is not None:
            assert answer.worker_id == before.worker_id
            assert answer.incarnation > before.incarnation
            self.past.append((name, before))
        self.known[name] = answer
        if self.desired.get(name) is not Desired.PAUSE:  # a pause outlasts its worker
            self.desired[name] = Desired.RUN
        self.clients[answer.worker_id] = client

    @precondition(lambda self: self.known)
    @rule(data=st.data(), is_free=st.booleans())
    def report(self, data: st.DataObject, is_free: bool) -> None:
        name = data.draw(st.sampled_from(sorted(self.known)))
        answer = self.do(self._report(self.known[name], is_free))

        assert answer.desired is self.desired[name]

    @precondition(lambda self: self.past)
    @rule(data=st.data())
    def report_as_somebody_of_the_past(self, data: st.DataObject) -> None:
        _, before = data.draw(st.sampled_from(self.past))

        with pytest.raises(WorkerSuperseded):
            self.do(self._report(before, True))

    async def _report(self, who: r.EnrolReply, is_free: bool) -> r.StatusReply:
        return await self.clients[who.worker_id].report(
            r.StatusReport(
                worker_id=who.worker_id,
                incarnation=who.incarnation,
                status=WorkerStatus.READY if is_free else WorkerStatus.WORKING,
                attempts=(),
                free_slots=2 if is_free else 0,
            )
        )

    @rule(name=NAMES, desired=st.sampled_from([Desired.RUN, Desired.PAUSE, Desired.DRAIN]))
    def wish(self, name: str, desired: Desired) -> None:
        ask = r.WishRequest(desired=desired, reason="test")
        if name not in self.known:
            with pytest.raises(UnknownWorker):
                self.do(self.carrier.people.wish(name, ask))
            return

        view = self.do(self.carrier.people.wish(name, ask))

        self.desired[name] = desired
        assert view.desired is desired

    @invariant()
    def all_workers_are_there(self) -> None:
        found = self.do(self.carrier.people.list_workers()).workers
        assert {w.name: w.incarnation for w in found} == {
            name: reply.incarnation for name, reply in self.known.items()
        }


@pytest.mark.parametrize("machine", [Jobs, JobsBehindAGateway, Workers])
def test_a_service_is_what_its_model_is(machine: type[Machine]) -> None:
    run_state_machine_as_test(machine, settings=QUICK)


@pytest.mark.prove
@pytest.mark.timeout(900)
@pytest.mark.parametrize("machine", [Jobs, JobsBehindAGateway, Workers])
def test_a_service_is_what_its_model_is_for_long(machine: type[Machine]) -> None:
    long = settings(QUICK, max_examples=200, stateful_step_count=50)

    run_state_machine_as_test(machine, settings=long)
