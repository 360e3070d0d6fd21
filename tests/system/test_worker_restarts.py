"""A worker that is killed between every two steps of an attempt, and the one that comes after it.

Each time the job ends exactly once, with its real exit code and its whole log.
"""

import signal
import sys

import pytest

from shared.ids import JobId
from shared.protocol.pipeline import CheckSpec
from shared.protocol.states import RunStatus
from tests.support.cluster import Cluster
from tests.support.daemons import Daemon, until
from tests.support.history import assert_sound
from tests.support.jobstore import a_job

LINES = 3_000  # of 27 bytes: more than travels inside finish

# What the worker does for an attempt, in order, and how many attempts the job needs if the worker
# is killed there. Before its own command is started, it goes back at no cost.
STEPS = {
    "worker.claim.after": 2,
    "worker.run.before_send": 2,
    "worker.run.after": 2,
    "worker.phase.noted": 2,  # the pre-checks are about to start
    "worker.spawn.unnoted": 1,  # they run, and nobody has noted it
    "worker.spawn.after": 1,
    "worker.spawn.before": 2,  # they passed
    "worker.phase.noted:2": 2,
    "worker.spawn.unnoted:2": 1,  # the job itself
    "worker.spawn.after:2": 1,
    "worker.log.before_send": 1,
    "worker.phase.noted:3": 2,  # the job has ended, and the post-checks are about to start
    "worker.spawn.unnoted:3": 1,
    "worker.spawn.after:3": 1,
    "worker.result.unnoted": 1,
    "worker.result.noted": 1,
    "worker.artifacts.collected": 1,
    "worker.finish.before_send": 1,
    "worker.artifact.before_send": 1,
    "worker.finish.after_receipt": 1,  # of what is missing
    "worker.finish.after_receipt:2": 1,
    "worker.settle.before": 1,
    "worker.settle.after": 1,
}
TRIED_EACH_TIME = ("worker.spawn.unnoted:2", "worker.result.noted", "worker.settle.before")


def doomed(cluster: Cluster, point: str) -> Daemon:
    """A worker that kills itself there, as by kill -9."""
    worker = cluster.worker("ann")
    worker.program = (sys.executable, "-m", "tests.support.doomed", point)
    return worker


@pytest.mark.parametrize(
    "point",
    [
        point if point in TRIED_EACH_TIME else pytest.param(point, marks=pytest.mark.prove)
        for point in STEPS
    ],
)
async def test_a_job_survives_its_worker_at_every_step(cluster: Cluster, point: str) -> None:
    worker = doomed(cluster, point)
    await worker.start()
    script = f"{cluster.trace()}; seq -f 'line %020.0f.' {LINES}; echo made > out; sleep 0.4"
    check = CheckSpec(name="check_file_exists", params={"path": "/dev/null"})
    made = CheckSpec(name="check_file_exists", params={"path": "out"})
    run_id = await cluster.submit(
        a_job("job", command=script, pre_checks=[check], post_checks=[made], artifacts=["out"])
    )

    assert await worker.ended() == -signal.SIGKILL
    await cluster.start_worker("ann")
    run = await cluster.until_ended(run_id)

    log = b"".join(
        [
            piece
            async for piece in cluster.jobs.read_log(
                run_id, JobId("job"), attempt=None, offset=0, follow=False
            )
        ]
    )
    attempts = await cluster.attempts(run_id, "job")
    assert (run.status, run.jobs[0].exit_code) == (RunStatus.SUCCESS, 0)
    said = [line for line in log.splitlines() if not line.startswith(b"[drawbar] ")]
    assert said == [b"line %020d." % n for n in range(1, LINES + 1)]
    assert attempts[-1].log_lost_bytes == 0
    assert len(attempts) <= STEPS[point]
    assert run.jobs[0].tries == 1
    assert [a.exit_code for a in attempts if a.receipt_id and a.exit_code is not None] == [0]
    await until(lambda: is_settled(cluster), "nothing is left in the outbox")
    await assert_sound(cluster, [run_id])


async def is_settled(cluster: Cluster) -> bool:
    return not list((cluster.data / "workers" / "ann" / "attempts").glob("*.log"))
