"""A worker whose wire to the gateway is cut for longer than its lease."""

from datetime import UTC, datetime
from pathlib import Path

from shared.protocol.states import AttemptStatus, RunStatus
from tests.support.cluster import Cluster
from tests.support.daemons import Daemon, until
from tests.support.history import assert_sound
from tests.support.jobstore import a_job
from tests.support.relay import Relay


async def test_a_job_is_dead_before_its_lease_can_pass_to_another_and_its_report_is_evidence(
    hasty: Cluster,
) -> None:
    """The job ignores SIGTERM, and writes down that it lives, on the clock of the services."""
    relay = Relay(int(hasty.env["DRAWBAR_GATEWAY_URL"].rpartition(":")[2]))
    await relay.start()
    signs = hasty.work / "signs"
    live = f"while :; do date +%s.%N >> '{signs}'; sleep 0.02; done"
    command = f"trap '' TERM; {hasty.trace()}; test $DRAWBAR_TRY = 2 || {{ {live}; }}"
    try:
        ann = hasty.worker("ann", "--gateway", relay.url)
        await ann.start()
        await hasty.until_present("ann", ann)
        run_id = await hasty.submit(a_job("job", command=command))
        await hasty.until_traced(1)

        relay.cut()
        lost = await hasty.until_event(run_id, "attempt.lost")
        await hasty.start_worker("ben")
        run = await hasty.until_ended(run_id)
        relay.mend()

        async def is_told() -> bool:
            return (await hasty.attempts(run_id, "job"))[0].evidence is not None

        await until(is_told, "the late report is kept")
        await until(lambda: has_dropped(ann), "the worker has given it up")
        await until(lambda: has_nothing_parked(hasty), "nothing is left of it")
        # Ann's long poll was still open when the job was free again: it may have lapsed once.
        first, *_, second = await hasty.attempts(run_id, "job")
        assert last_sign(signs) < lost.at
        assert run.status is RunStatus.SUCCESS
        assert (first.status, second.status) == (AttemptStatus.LOST, AttemptStatus.REPORTED)
        await assert_sound(hasty, [run_id])
    finally:
        await relay.stop()


def last_sign(signs: Path) -> datetime:
    return datetime.fromtimestamp(float(signs.read_text().split()[-1]), UTC)


async def has_dropped(worker: Daemon) -> bool:
    return "attempt.dropped" in worker.said()


async def has_nothing_parked(cluster: Cluster) -> bool:
    return not list((cluster.data / "workers" / "ann" / "outbox" / "parked").iterdir())
