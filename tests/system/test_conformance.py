"""Our own parts keep to the protocol, on real sockets; parts that are wrong are found out."""

import shlex
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from xml.etree import ElementTree

import pytest

import gateway.app
import jobstore.app
import registry.app
from drawbar.conformance.case import Outcome, Verdict
from drawbar.conformance.judging import SERVICE_CASES, judge_services
from drawbar.conformance.report import junit_of, line_of
from drawbar.conformance.workers.judging import WORKER_CASES, judge_worker
from gateway.service import GatewayService
from jobstore.service import JobStoreService
from jobstore.settings import JobStoreSettings
from registry.service import RegistryService
from shared.daemon import Part
from shared.errors import ServiceError
from shared.files import DiskFiles
from shared.http.server import Server
from shared.keys import load_keys
from shared.protocol import gateway as g
from shared.protocol import registry as r
from shared.protocol.states import AttemptStatus, Desired, JobStatus
from shared.renewal import AttemptTokens
from shared.runtime import SystemRuntime
from shared.services import Body
from shared.tokens import Minter, Role, Verifier
from tests.support.daemons import DRAWBAR
from tests.support.golden import ROOT

pytestmark = pytest.mark.system

WORKER = f"{shlex.quote(DRAWBAR)} worker --name {{name}} --slots {{slots}} --no-warm"
# Cases in which a lease ends, or an outage lasts.
LONG = (
    "finish.late",
    "worker.retry-after",
    "worker.gateway-away",
    "worker.cut-off",
    "worker.registry-away",
    "worker.killed",
)
# As WORKER, but it takes every answer to a heartbeat for "renewed".
DEAF = (
    "import worker.lease as lease; from drawbar.cli.main import main;"
    "lease.Leases._judge = lambda self, held, _, sent_at: self._arm(held, sent_at);"
    "main(['worker', '--name', '{name}', '--slots', '{slots}', '--no-warm'])"
)


class Forgetful(GatewayService):
    """Takes every claim for a new one."""

    async def claim(self, ask: g.ClaimRequest) -> g.ClaimReply:
        return await super().claim(ask.model_copy(update={"claim_id": SystemRuntime().new_id()}))


class Lenient(GatewayService):
    """Renews whatever it is asked to, and takes any fence."""

    async def heartbeat(self, ask: g.HeartbeatRequest) -> g.HeartbeatReply:
        return g.HeartbeatReply(
            leases=tuple(
                g.LeaseVerdict(attempt_id=lease.attempt_id, verdict=g.Verdict.RENEWED, reason=None)
                for lease in ask.leases
            )
        )

    async def run(self, ask: g.RunRequest) -> g.RunContext:
        return await super().run(ask.model_copy(update={"fence": 1}))


class Careless(GatewayService):
    """Says that a log or an artifact came, whatever came; and gives a receipt for any report."""

    async def append_log(self, chunk: g.LogChunk, body: Body) -> g.LogReply:
        try:
            return await super().append_log(chunk, body)
        except ServiceError:
            return g.LogReply(
                next_offset=chunk.offset + chunk.size_bytes,
                attempt_status=AttemptStatus.RUNNING,
                cancel_requested=False,
            )

    async def finish(self, ask: g.FinishRequest) -> g.FinishReply:
        try:
            return await super().finish(ask)
        except ServiceError:
            return g.Receipt(
                receipt_id=SystemRuntime().new_id(),
                attempt_id=ask.attempt_id,
                fence=ask.fence,
                job_status=JobStatus.SUCCESS,
            )


class Hospitable(RegistryService):
    """Never notices that a name was taken over."""

    async def report(self, ask: r.StatusReport) -> r.StatusReply:
        try:
            return await super().report(ask)
        except ServiceError:
            return r.StatusReply(desired=Desired.RUN, reason=None, deadline_s=None, next_report_s=1)


@asynccontextmanager
async def installation(
    folder: Path,
    gateway_class: type[GatewayService] = GatewayService,
    registry_class: type[RegistryService] = RegistryService,
    lease_s: float = 30.0,
) -> AsyncIterator[Callable[..., Awaitable[list[Outcome]]]]:
    """`judge_services`, told all but the cases of services that listen."""
    runtime = SystemRuntime()
    keys = load_keys(folder / "keys", runtime)
    files = DiskFiles(folder / "files", runtime)
    settings = JobStoreSettings.scaled_to(lease_s)
    jobs = JobStoreService(folder / "jobs.db", files, runtime, settings)
    workers = registry_class(folder / "registry.db", runtime)
    verifier = Verifier(keys.signing.public_key(), runtime)
    minter = Minter(keys.signing, runtime, verifier)
    forwarder = gateway_class(jobs, runtime)
    tokens = AttemptTokens(minter, runtime)
    apps = (
        gateway.app.build_app(forwarder, verifier, tokens, jobs.execution, jobs),
        registry.app.build_app(workers, verifier, minter, keys.enrolment_secret),
        jobstore.app.build_app(jobs, verifier, jobs.execution),
    )
    servers = [Server(app, "127.0.0.1", 0) for app in apps]
    parts: list[Part] = [jobs, workers, *servers]
    async with AsyncExitStack() as stack:
        for part in parts:
            stack.push_async_callback(part.stop)
            await part.start()
        yield partial(
            judge_services,
            runtime,
            gateway=servers[0].url,
            registry=servers[1].url,
            jobstore=servers[2].url,
            enrolment_secret=keys.enrolment_secret,
            client_token=minter.client("eve", Role.ADMIN, 3_600.0),
        )


def broken(outcomes: list[Outcome]) -> str:
    """A report on all that was not kept."""
    return "\n".join(line_of(o) for o in outcomes if o.verdict is not Verdict.KEPT)


def names_of_broken(outcomes: list[Outcome]) -> set[str]:
    return {o.name for o in outcomes if o.verdict is Verdict.BROKEN}


@pytest.mark.slow
async def test_our_services_keep_to_the_protocol(tmp_path: Path) -> None:
    async with installation(tmp_path) as judge:
        outcomes = await judge(cases=[case for case in SERVICE_CASES if case.name not in LONG])

    assert broken(outcomes) == ""
    assert len(outcomes) >= 80


@pytest.mark.prove
async def test_a_result_that_comes_after_its_lease_is_too_late(tmp_path: Path) -> None:
    late = [case for case in SERVICE_CASES if case.name in LONG]
    for name in ("short", "usual"):
        (tmp_path / name).mkdir()

    async with installation(tmp_path / "short", lease_s=3.0) as judge:
        short = await judge(cases=late)
    async with installation(tmp_path / "usual") as judge:
        usual = await judge(cases=late)

    assert broken(short) == ""
    assert [o.says for o in usual] == ["needs a lease that ends soon: it has 30 s"]


@pytest.mark.slow
@pytest.mark.timeout(180)  # twenty-two workers are started
async def test_our_worker_keeps_to_the_protocol() -> None:
    cases = [case for case in WORKER_CASES if case.name not in LONG]

    outcomes = await judge_worker(WORKER, SystemRuntime(), cases=cases)

    assert broken(outcomes) == ""


@pytest.mark.prove
async def test_our_worker_keeps_to_the_protocol_through_outages() -> None:
    cases = [case for case in WORKER_CASES if case.name in LONG]

    outcomes = await judge_worker(WORKER, SystemRuntime(), cases=cases)

    assert broken(outcomes) == ""
    assert len(outcomes) == len(LONG) - 1


@pytest.mark.prove
async def test_a_worker_that_keeps_nothing_is_found_out() -> None:
    cases = [case for case in WORKER_CASES if case.name in ("worker.killed", "worker.lost-run")]

    outcomes = await judge_worker(
        f"sh -c 'rm -rf {{data}}/*; exec {WORKER}'", SystemRuntime(), cases=cases
    )

    assert names_of_broken(outcomes) == {"worker.killed"}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("gateway_class", "found"),
    [
        (Forgetful, {"claim.same-id"}),
        (
            Lenient,
            {
                "heartbeat.renewed",
                "heartbeat.cancel",
                "heartbeat.gone",
                "heartbeat.stale-fence",
                "heartbeat.one",
                "heartbeat.others",
                "run.stale-fence",
                "finish.old-attempt",  # as a second attempt cannot run
            },
        ),
        (
            Careless,
            {
                "log.gap",
                "log.stale-fence",
                "log.others",
                "finish.conflict",
                "finish.others",
                "finish.stale-fence",
                "finish.old-attempt",
            },
        ),
    ],
)
async def test_a_wrong_gateway_breaks_just_the_cases_that_it_is_wrong_in(
    tmp_path: Path, gateway_class: type[GatewayService], found: set[str]
) -> None:
    areas = ("claim.same", "claim.job", "heartbeat.", "run.", "log.", "finish.", "refuse.again")
    cases = [case for case in SERVICE_CASES if case.name.startswith(areas)]
    async with installation(tmp_path, gateway_class) as judge:
        outcomes = await judge(cases=cases)

    assert names_of_broken(outcomes) == found


async def test_a_wrong_registry_breaks_just_the_cases_that_it_is_wrong_in(tmp_path: Path) -> None:
    cases = [case for case in SERVICE_CASES if case.name.startswith(("report.", "enrol."))]
    async with installation(tmp_path, registry_class=Hospitable) as judge:
        outcomes = await judge(cases=cases)

    assert names_of_broken(outcomes) == {
        "report.superseded",
        "report.unknown-worker",
        "report.unknown-incarnation",
    }


@pytest.mark.slow
async def test_a_worker_that_does_not_heed_the_registry_is_found_out() -> None:
    cases = [case for case in WORKER_CASES if case.name in ("worker.refuses", "worker.run")]

    outcomes = await judge_worker(f"{WORKER} --registry-policy off", SystemRuntime(), cases=cases)

    assert names_of_broken(outcomes) == {"worker.refuses"}


@pytest.mark.prove  # half a minute: what does not happen is waited for
@pytest.mark.timeout(180)
async def test_a_worker_that_is_deaf_to_heartbeats_is_found_out() -> None:
    wanted = ("worker.cancel", "worker.exit-code")
    cases = [case for case in WORKER_CASES if case.name in wanted]
    command = f"{shlex.quote(sys.executable)} -c {shlex.quote(DEAF)}"

    outcomes = await judge_worker(command, SystemRuntime(), cases=cases)

    assert names_of_broken(outcomes) == {"worker.cancel"}


async def test_without_a_place_for_jobs_cases_with_jobs_are_skipped(tmp_path: Path) -> None:
    cases = [case for case in SERVICE_CASES if case.name in ("claim.no-job", "claim.job")]
    async with installation(tmp_path) as judge:
        outcomes = await judge(cases=cases, jobstore=None)

    assert [o.verdict for o in outcomes] == [Verdict.KEPT, Verdict.SKIPPED]
    assert "--jobstore URL" in outcomes[1].says


def test_every_case_proves_a_sentence_of_the_protocol() -> None:
    page = " ".join((ROOT / "docs" / "protocol.md").read_text().split())
    cases = {case.name: case.sentence for case in SERVICE_CASES}
    cases |= {case.name: case.sentence for case in WORKER_CASES}

    assert [
        name for name, sentence in cases.items() if " ".join(sentence.split()) not in page
    ] == []
    assert len(cases) == len(SERVICE_CASES) + len(WORKER_CASES)


def test_a_junit_report_tells_what_was_found_instead_of_what_the_protocol_says() -> None:
    outcomes = [
        Outcome("a.kept", "It does.", Verdict.KEPT, "", 0.1),
        Outcome("a.broken", "It must.", Verdict.BROKEN, "it <did not>\x00", 0.2),
        Outcome("a.skipped", "It may.", Verdict.SKIPPED, "nothing to try it on", 0.0),
    ]

    suite = ElementTree.fromstring(junit_of("suite", outcomes)).find("testsuite")

    assert suite is not None
    assert (suite.get("tests"), suite.get("failures"), suite.get("skipped")) == ("3", "1", "1")
    failure = suite.find("testcase[@name='a.broken']/failure")
    assert failure is not None
    assert failure.get("message") == "it <did not>\N{REPLACEMENT CHARACTER}"
    assert "protocol: It must." in (failure.text or "")
