"""Those who use the system from outside: one submits and cancels, one looks on."""

import asyncio
import functools
import random
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, TypeVar

from shared.errors import Conflict, ServiceError
from shared.ids import JobId, RunId
from shared.protocol import jobs as j
from shared.protocol.pipeline import PipelineSpec
from shared.services import JobService
from shared.tokens import Role
from simulation.cluster import Cluster
from simulation.history import History

T = TypeVar("T")

SUBMIT_WITHIN_S: Final = 40.0
CANCEL_CHANCE: Final = 0.2
LOOK_EVERY_S: Final = 6.0
CALL_S: Final = 8.0
AGAIN_S: Final = (0.1, 2.0)


class People:
    """Their processes never fail; the network between them and the job service may."""

    def __init__(
        self,
        cluster: Cluster,
        pipelines: Sequence[PipelineSpec],
        within_s: float = SUBMIT_WITHIN_S,
    ) -> None:
        self._cluster = cluster
        self._history = cluster.history
        self._pipelines = pipelines
        self._within_s = within_s
        self._chance = random.Random(f"people-{cluster.loop.seed}")
        self._known: list[RunId] = []
        self.have_submitted = False  # all of it, and it was acknowledged

    def arrive(self) -> None:
        """Runs are submitted, and looked at."""
        submitter, client = self._cluster.client("submitter", Role.SUBMITTER)
        onlooker, eyes = self._cluster.client("onlooker", Role.VIEWER)
        onlooker.spawn(self._look(eyes), "look")
        submitter.spawn(self._submit_all(client), "submit")

    async def _submit_all(self, client: JobService) -> None:
        gap_s = self._within_s / len(self._pipelines)
        for pipeline in self._pipelines:
            ask = j.SubmitRequest(idempotency_key=pipeline.name, pipeline=pipeline)
            call = functools.partial(client.submit, ask)
            reply = await self._insist("submit", call, name=pipeline.name)
            self._history.event("submitted", name=pipeline.name, run=reply.run_id)
            self._known.append(reply.run_id)
            await asyncio.sleep(self._chance.uniform(0, 2 * gap_s))
            if self._chance.random() < CANCEL_CHANCE:
                await self._cancel(client, self._chance.choice(self._known), pipeline)
        self.have_submitted = True

    async def _cancel(self, client: JobService, run_id: RunId, pipeline: PipelineSpec) -> None:
        job_id = self._chance.choice((None, JobId("job-0")))
        ask = j.CancelRequest(run_id=run_id, job_id=job_id, reason=f"after {pipeline.name}")
        try:
            await self._insist("cancel", lambda: client.cancel(ask), run=run_id, job=job_id)
        except Conflict:
            return  # the job had ended otherwise
        self._history.event("cancelled", run=run_id, job=job_id)

    async def _insist(self, op: str, call: Callable[[], Awaitable[T]], **facts: object) -> T:
        """The same call again and again until it is answered for good."""
        while True:
            invoked = self._history.invoke(op, **facts)
            try:
                async with asyncio.timeout(CALL_S):
                    reply = await call()
            except (ServiceError, TimeoutError) as error:
                self._history.fail(invoked, error)
                if isinstance(error, Conflict):
                    raise
                await asyncio.sleep(self._chance.uniform(*AGAIN_S))
            else:
                self._history.answer(invoked)
                return reply

    async def _look(self, client: JobService) -> None:
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            for run_id in list(self._known):
                try:
                    async with asyncio.timeout(CALL_S):
                        run = await client.show_run(run_id)
                except (ServiceError, TimeoutError):
                    continue
                _record(self._history, run)


def _record(history: History, run: j.RunView) -> None:
    ended = {job.id: job.status.value for job in run.jobs if job.status.is_ended}
    status = run.status.value if run.status.is_ended else None
    history.event("seen", run=run.run_id, status=status, ended=ended)
