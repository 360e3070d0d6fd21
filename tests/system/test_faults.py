"""Real daemons that are disturbed on purpose, in every way there is, and what becomes of a run."""

import json
import signal
from typing import Any

import pytest

from faults.points import Action
from shared.errors import NotFound
from shared.ids import JobId, RunId
from shared.keys import load_keys
from shared.protocol.states import RunStatus
from shared.runtime import SystemRuntime
from shared.tokens import Minter, Role
from tests.support.cluster import Cluster
from tests.support.daemons import Daemon, until
from tests.support.history import assert_sound
from tests.support.jobstore import a_job

LINES = 3_000  # of 27 bytes: more than travels inside finish

Fault = dict[str, Any]


def fault(at: str, action: str, **more: Any) -> Fault:
    return {"at": at, "action": action, "times": 1, **more}


# What is done to the calls, the bytes and the disks of a cluster while a run goes through it.
OF_THE_WORKER = (
    fault("worker.claim.before_send", "error"),
    fault("worker.run.before_send", "drop_reply"),
    fault("worker.append_log.before_send", "truncate"),
    fault("worker.put_artifact.before_send", "corrupt"),
    fault("worker.heartbeat.before_send", "drop_request"),
    fault("worker.finish.before_send", "duplicate"),
    fault("worker.report.before_send", "reorder", seconds=0.3),
    fault("worker.result.noted", "delay", seconds=0.3),
    fault("worker.clock.read", "clock_skew", seconds=20),
    fault("worker.outbox.note", "disk_full", skip=1),
)
OF_THE_SERVICES = {
    "gateway": (
        fault("gateway.finish.before_send", "error", code="unavailable"),
        fault("gateway.append_log.before_send", "corrupt"),
        fault("gateway.run.received", "duplicate"),
    ),
    "jobstore": (
        fault("jobstore.claim.before_reply", "error"),
        fault("jobstore.store.before_commit", "error", skip=3),
        fault("jobstore.store.after_commit", "error", skip=6),
        fault("jobstore.finish.received", "drop_reply"),
        fault("jobstore.file.append", "eio_write"),
        fault("jobstore.file.append", "disk_full", skip=1),
        fault("jobstore.file.sync", "fsync_error"),
        fault("jobstore.file.read", "eio_read"),
        fault("jobstore.clock.read", "clock_skew", seconds=-30, skip=5),
    ),
    "registry": (
        fault("registry.report.received", "drop_request"),
        fault("registry.report.before_reply", "delay", seconds=0.2),
        fault("registry.clock.read", "clock_rate", rate=3),
    ),
}


class Disturbed:
    """A cluster that takes faults: its worker's from a file, its services' by request."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.plan = cluster.folder / "plan.yaml"
        self.told = cluster.folder / "faults.jsonl"
        for service in cluster.services.values():
            service.words += ["--allow-faults", "--fault-log", str(self.told)]

    async def start_worker(self, *faults: Fault) -> Daemon:
        self.plan.write_text(json.dumps({"faults": faults}))
        flags = ("--allow-faults", "--fault-log", str(self.told), "--fault-plan", str(self.plan))
        return await self.cluster.start_worker("ann", *flags)

    async def submit(self) -> RunId:
        """Two jobs with long logs, of which one needs what the other one made."""
        script = f"{self.cluster.trace()}; seq -f 'line %020.0f.' {LINES}; echo made > out"
        return await self.cluster.submit(
            a_job("first", command=f"{script}; sleep 1", artifacts=["out"]),
            a_job("second", command=script, needs=["first"], inputs=["first"]),
        )

    async def assert_well(self, run_id: RunId) -> None:
        """The run is a success, with all that its jobs printed."""
        run = await self.cluster.until_ended(run_id)
        assert run.status is RunStatus.SUCCESS
        for job in run.jobs:
            log = b"".join(
                [
                    piece
                    async for piece in self.cluster.jobs.read_log(
                        run_id, JobId(job.id), attempt=None, offset=0, follow=False
                    )
                ]
            )
            assert log.splitlines() == [b"line %020d." % n for n in range(1, LINES + 1)]
        await assert_sound(self.cluster, [run_id])

    def injected(self) -> set[tuple[str, str]]:
        """What the daemons wrote that they did, each as (point, action)."""
        lines = self.told.read_text().splitlines() if self.told.exists() else []
        return {(told["point"], told["action"]) for told in map(json.loads, lines)}

    async def put(self, service: str, *faults: Fault) -> Any:
        return await ask_faults(self.cluster, service, "PUT", {"faults": faults})


async def ask_faults(cluster: Cluster, service: str, method: str, body: object = None) -> Any:
    runtime = SystemRuntime()
    token = Minter(load_keys(cluster.data / "keys", runtime).signing, runtime).client(
        "tests", Role.ADMIN
    )
    url = cluster.env[f"DRAWBAR_{service.upper()}_URL"]
    data = None if body is None else json.dumps(body).encode()
    answer = await cluster.transport(url, service, lambda: token).request(
        method, "/v1/faults", data, headers={"Content-Type": "application/json"}
    )
    return json.loads(answer.body)


@pytest.fixture
async def disturbed(tmp_path: Any) -> Any:
    """Its services run."""
    cluster = Cluster(tmp_path, lease_s=6.0, silent_after_s=4.0)
    found = Disturbed(cluster)
    try:
        await cluster.start_services()
        yield found
    finally:
        left = await cluster.end()
        cluster.print_logs()
    assert not left, f"processes were left behind: {left}"


async def test_a_run_ends_well_whatever_is_done_to_calls_bytes_and_disks(
    disturbed: Disturbed,
) -> None:
    await disturbed.start_worker(*OF_THE_WORKER)
    for service, faults in OF_THE_SERVICES.items():
        await disturbed.put(service, *faults)

    await disturbed.assert_well(await disturbed.submit())

    wanted = {(f["at"], f["action"]) for f in OF_THE_WORKER}
    for service, faults in OF_THE_SERVICES.items():
        seen = await ask_faults(disturbed.cluster, service, "GET")
        assert all(one["times"] >= 1 for one in seen["injected"])
        wanted |= {(f["at"], f["action"]) for f in faults}
    assert disturbed.injected() >= wanted


async def test_what_a_fault_stalls_goes_on_when_it_is_taken_away(disturbed: Disturbed) -> None:
    await disturbed.start_worker()
    await disturbed.put("jobstore", fault("jobstore.run.received", "stall"))
    run_id = await disturbed.submit()

    async def is_stalled() -> bool:
        return ("jobstore.run.received", "stall") in disturbed.injected()

    await until(is_stalled, "the job service does not answer")
    assert disturbed.cluster.traces() == []
    await ask_faults(disturbed.cluster, "jobstore", "DELETE")

    await disturbed.assert_well(run_id)


@pytest.mark.prove
async def test_paused_daemons_go_on_by_themselves(disturbed: Disturbed) -> None:
    await disturbed.start_worker(fault("worker.spawn.after", "pause", seconds=1))
    await disturbed.put("gateway", fault("gateway.finish.received", "pause", seconds=1))

    await disturbed.assert_well(await disturbed.submit())

    assert {action for _, action in disturbed.injected()} == {"pause"}


@pytest.mark.parametrize(
    ("service", "point", "action", "code"),
    [
        ("jobstore", "jobstore.store.before_commit", "disk_full", 1),
        pytest.param(
            *("jobstore", "jobstore.store.before_commit", "fsync_error", 1),
            marks=pytest.mark.prove,
        ),
        pytest.param(
            *("jobstore", "jobstore.store.after_commit", "kill", -signal.SIGKILL),
            marks=pytest.mark.prove,
        ),
        pytest.param(
            *("gateway", "gateway.finish.after_send", "kill", -signal.SIGKILL),
            marks=pytest.mark.prove,
        ),
    ],
)
async def test_a_service_that_ended_by_a_fault_goes_on_where_it_was(
    disturbed: Disturbed, service: str, point: str, action: str, code: int
) -> None:
    await disturbed.start_worker()
    await disturbed.put(service, fault(point, action, skip=5 if "store" in point else 0))
    run_id = await disturbed.submit()
    daemon = disturbed.cluster.services[service]

    assert await daemon.ended() == code
    assert "Traceback" not in daemon.said()
    await daemon.start()

    await disturbed.assert_well(run_id)
    assert (point, action) in disturbed.injected()


async def test_every_action_there_is_strikes_in_these_tests() -> None:
    struck = {f["action"] for f in OF_THE_WORKER}
    struck |= {f["action"] for faults in OF_THE_SERVICES.values() for f in faults}

    assert struck | {"stall", "pause", "kill"} == {action.value for action in Action}


async def test_without_the_permission_there_is_nothing_to_ask(cluster: Cluster) -> None:
    for service in cluster.services:
        for method in ("GET", "PUT", "DELETE"):
            with pytest.raises(NotFound):
                await ask_faults(cluster, service, method, {"faults": []})


@pytest.mark.parametrize(
    "daemon",
    [
        "worker",
        *(
            pytest.param(name, marks=pytest.mark.prove)
            for name in ("jobstore", "registry", "gateway", "up")
        ),
    ],
)
async def test_a_plan_without_the_permission_is_refused(tmp_path: Any, daemon: str) -> None:
    cluster = Cluster(tmp_path)
    (tmp_path / "plan.yaml").write_text("faults: []")
    try:
        refused = await cluster.run(daemon, "--fault-plan", str(tmp_path / "plan.yaml"))
    finally:
        await cluster.end()

    assert refused.code == 2
    assert "--allow-faults" in refused.err
