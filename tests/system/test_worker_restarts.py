"""A worker that is killed between every two steps of an attempt, and the one that comes after it.

Each time the job ends exactly once, with its real exit code and its whole log.
"""

import asyncio
import signal
import sys

import pytest

from shared.ids import JobId, RunId
from shared.protocol.pipeline import CheckSpec
from shared.protocol.states import RunStatus
from tests.support.cluster import Cluster
from tests.support.daemons import Daemon, until
from tests.support.history import assert_sound
from tests.support.jobstore import a_job

LINES = 3_000  # of 27 bytes: more than travels inside finish

# What the worker does for an attempt, in order, and how many attempts the job needs if the worker
# is killed there. Before its own command is about to start, it goes back at no cost.
STEPS = {
    "worker.claim.after": 2,
    "gateway.run.before": 2,
    "gateway.run.after": 2,
    "worker.run.after": 2,
    "worker.phase.noted": 2,  # the pre-checks are about to start
    "worker.spawn.unnoted": 1,  # they run, and nobody has noted it
    "worker.spawn.after": 1,
    "worker.spawn.before": 2,  # they passed
    "worker.phase.noted:2": 2,  # it may have been started
    "worker.spawn.unnoted:2": 1,  # the job itself
    "worker.spawn.after:2": 1,
    "gateway.append_log.before": 1,
    "gateway.append_log.after": 1,
    "worker.phase.noted:3": 1,  # the job has ended, and the post-checks are about to start
    "worker.spawn.unnoted:3": 1,
    "worker.spawn.after:3": 1,
    "worker.result.unnoted": 1,
    "worker.result.noted": 1,
    "worker.artifacts.collected": 1,
    "gateway.finish.before": 1,
    "gateway.put_artifact.before": 1,
    "gateway.put_artifact.after": 1,
    "gateway.finish.before:2": 1,  # the first was answered with what is missing
    "gateway.finish.after:2": 1,
    "worker.settle.before": 1,
    "worker.settle.after": 1,
}
SPENDS_A_TRY = ("worker.phase.noted:2",)
TRIED_EACH_TIME = ("worker.spawn.unnoted:2", "worker.phase.noted:3")


def doomed(cluster: Cluster, point: str, *flags: str) -> Daemon:
    """A worker that kills itself there, as by kill -9."""
    worker = cluster.worker("ann", *flags)
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

    log = await log_of(cluster, run_id)
    attempts = await cluster.attempts(run_id, "job")
    assert (run.status, run.jobs[0].exit_code) == (RunStatus.SUCCESS, 0)
    said = [line for line in log.splitlines() if not line.startswith(b"[drawbar] ")]
    assert said == [b"line %020d." % n for n in range(1, LINES + 1)]
    assert attempts[-1].log_lost_bytes == 0
    assert len(attempts) <= STEPS[point]
    assert run.jobs[0].tries == (2 if point in SPENDS_A_TRY else 1)
    assert [a.exit_code for a in attempts if a.receipt_id and a.exit_code is not None] == [0]
    await until(lambda: is_settled(cluster), "nothing is left in the outbox")
    await assert_sound(cluster, [run_id])


async def log_of(cluster: Cluster, run_id: RunId) -> bytes:
    log = cluster.jobs.read_log(run_id, JobId("job"), attempt=None, offset=0, follow=False)
    return b"".join([piece async for piece in log])


async def is_settled(cluster: Cluster) -> bool:
    return not list((cluster.data / "workers" / "ann" / "attempts").glob("*.log"))


async def test_a_restart_on_request_leaves_jobs_running_and_the_worker_its_pid(
    cluster: Cluster,
) -> None:
    worker = await cluster.start_worker("ann")
    pid = worker.pid
    gate = cluster.gate()
    run_id = await cluster.submit(
        a_job("job", command=f"echo $$; {cluster.trace()}; {gate.wait}; echo end; exit 7")
    )
    await cluster.until_traced(1)

    worker.send(signal.SIGHUP)
    await until(lambda: has_handed_over(worker), "its successor begins")
    worker.send(signal.SIGHUP)  # before that listens
    await until(lambda: is_incarnation(cluster, 3), "it has enrolled anew, twice")
    await cluster.run("worker-restart", "ann", "--reason", "new version")
    await until(lambda: is_incarnation(cluster, 4), "it has enrolled once more")
    shown = await cluster.run("workers", "ann")
    gate.open()
    run = await cluster.until_ended(run_id)

    (attempt,) = await cluster.attempts(run_id, "job")
    assert worker.is_alive
    assert worker.pid == pid
    assert b"new version" in shown.out
    assert (run.jobs[0].exit_code, run.jobs[0].tries) == (7, 1)
    assert attempt.log_lost_bytes == 0
    assert len(cluster.traces()) == 1
    await assert_sound(cluster, [run_id])


async def test_what_a_leaving_worker_could_not_report_is_reported_by_the_next(
    cluster: Cluster,
) -> None:
    worker = await cluster.start_worker("ann", "--upload", "0.5")
    gate = cluster.gate()
    run_id = await cluster.submit(a_job("job", command=f"{cluster.trace()}; {gate.wait}; exit 7"))
    await cluster.until_traced(1)

    await cluster.gateway.kill()
    worker.send(signal.SIGTERM)
    gate.open()
    code = await worker.ended()
    await cluster.gateway.start()
    await cluster.start_worker("ann")
    run = await cluster.until_ended(run_id)

    assert code == 0
    assert (run.jobs[0].exit_code, run.jobs[0].tries) == (7, 1)
    assert len(cluster.traces()) == 1
    await assert_sound(cluster, [run_id])


async def test_without_reattachment_a_dead_workers_jobs_end_with_it_and_are_lost(
    cluster: Cluster,
) -> None:
    worker = await cluster.start_worker("ann", "--no-reattach")
    await cluster.submit(a_job("job", command=f"{cluster.trace()}; exec sleep 600", on_lost="fail"))
    await cluster.until_traced(1)

    await worker.kill()
    await until(lambda: has_no_jobs(cluster), "the job's processes are gone")
    await cluster.start_worker("ann", "--no-reattach")
    run = await cluster.until_ended(RunId(1))

    assert run.jobs[0].reason is not None
    assert (run.jobs[0].reason.what, run.jobs[0].reason.message) == ("lost", "worker crashed")


@pytest.mark.parametrize("point", ["worker.phase.noted", "worker.spawn.unnoted"])
async def test_a_job_that_may_have_begun_is_lost_though_nobody_noted_its_start(
    cluster: Cluster, point: str
) -> None:
    """Whoever says `on_lost: fail` wants it to be started once."""
    worker = doomed(cluster, point, "--no-reattach")
    await worker.start()
    run_id = await cluster.submit(a_job("job", command="sleep 600", on_lost="fail"))

    assert await worker.ended() == -signal.SIGKILL
    await cluster.start_worker("ann", "--no-reattach")
    run = await cluster.until_ended(run_id)

    assert run.jobs[0].reason is not None
    assert (run.jobs[0].reason.what, run.jobs[0].tries) == ("lost", 1)
    assert len(await cluster.attempts(run_id, "job")) == 1


async def test_a_job_whose_policy_was_being_asked_has_not_begun(cluster: Cluster) -> None:
    worker = doomed(cluster, "worker.spawn.after")
    await worker.start()
    run_id = await cluster.submit(
        a_job("job", command=cluster.trace(), on_lost="fail"),
        security={"policy": "block", "allowed_patterns": [".*"]},
    )

    assert await worker.ended() == -signal.SIGKILL
    await cluster.start_worker("ann")
    run = await cluster.until_ended(run_id)

    assert run.status is RunStatus.SUCCESS
    assert (run.jobs[0].tries, len(cluster.traces())) == (1, 1)


async def test_a_secret_that_was_changed_between_two_workers_stays_hidden(
    cluster: Cluster,
) -> None:
    """The job has the old one, and the log may be sent anew from its beginning."""
    first = cluster.daemon("worker", "--name", "ann", name="ann", DB_PASSWORD="old-one-9")
    await first.start()
    gate = cluster.gate()
    command = f"echo before $DB_PASSWORD; {cluster.trace()}; {gate.wait}; echo after $DB_PASSWORD"
    run_id = await cluster.submit(a_job("job", command=command), inherit_env=["DB_PASSWORD"])
    await cluster.until_traced(1)

    await first.kill()
    second = cluster.daemon("worker", "--name", "ann", name="ann", DB_PASSWORD="new-one-5")
    await second.start()
    gate.open()
    await cluster.until_ended(run_id)

    assert await log_of(cluster, run_id) == b"before ***\nafter ***\n"


async def test_a_worker_that_was_forgotten_and_enrols_anew_keeps_its_leases(
    hasty: Cluster,
) -> None:
    worker = await hasty.start_worker("ann")
    gate = hasty.gate()
    command = f"{hasty.trace()}; {gate.wait}; exit 7"
    run_id = await hasty.submit(a_job("job", command=command, on_lost="fail"))
    await hasty.until_traced(1)
    before = await hasty.find_worker("ann")

    await hasty.registry.kill()
    for file in (hasty.data / "registry").glob("registry.db*"):
        file.unlink()
    await hasty.registry.start()
    await hasty.until_present("ann", worker)
    await asyncio.sleep(4)  # longer than a lease lasts that nobody renews
    gate.open()
    run = await hasty.until_ended(run_id)

    after = await hasty.find_worker("ann")
    assert before is not None
    assert after is not None
    assert before.worker_id != after.worker_id
    assert (run.jobs[0].exit_code, run.jobs[0].tries) == (7, 1)
    assert len(hasty.traces()) == 1


async def test_a_job_is_stopped_before_its_lease_ends_though_its_worker_is_dead(
    hasty: Cluster,
) -> None:
    """Its keeper does it: the job service must not give it to another while it still runs."""
    worker = await hasty.start_worker("ann")
    run_id = await hasty.submit(a_job("job", command=f"{hasty.trace()}; exec sleep 600"))
    await hasty.until_traced(1)

    await worker.kill()
    await until(lambda: has_no_jobs(hasty), "the job's processes are gone")

    assert (await hasty.job(run_id, "job")).status == "running"  # nobody else can have it


@pytest.mark.prove
async def test_a_job_is_stopped_before_its_lease_ends_though_its_worker_is_frozen(
    hasty: Cluster,
) -> None:
    worker = await hasty.start_worker("ann")
    command = f"{hasty.trace()}; test $DRAWBAR_TRY = 2 || exec sleep 600"
    run_id = await hasty.submit(a_job("job", command=command))
    await hasty.until_traced(1)

    worker.send(signal.SIGSTOP)
    await until(lambda: has_no_jobs(hasty), "the job's processes are gone")
    held = await hasty.job(run_id, "job")
    await hasty.start_worker("ben")
    run = await hasty.until_ended(run_id)
    worker.send(signal.SIGCONT)

    assert held.status == "running"
    assert run.status is RunStatus.SUCCESS
    await assert_sound(hasty, [run_id])


async def is_incarnation(cluster: Cluster, number: int) -> bool:
    found = await cluster.find_worker("ann")
    return found is not None and found.incarnation == number and bool(found.attempts)


async def has_handed_over(worker: Daemon) -> bool:
    return "hands over" in worker.said()


async def has_no_jobs(cluster: Cluster) -> bool:
    return not [words for words in cluster.job_processes().values() if "sleep" in words]
