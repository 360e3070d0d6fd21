"""A worker whose heartbeats stop is seen to be late before its job is lost."""

from shared.protocol.states import JobStatus
from tests.support.jobstore import Hands, a_job

BEAT_S = 2.0  # of the default settings; the lease lasts 30 s


async def kinds(hands: Hands, run_id: int) -> list[str]:
    listed = await hands.service.list_events(run_id, after=0, limit=100)  # type: ignore[arg-type]
    return [e.kind for e in listed.events if e.kind.startswith("attempt.")]


async def test_two_missing_beats_make_an_attempt_late_and_not_lost(hands: Hands) -> None:
    run_id = await hands.submit(a_job("a"))
    claim = await hands.start()
    await hands.beat(claim)

    await hands.runtime.advance(2 * BEAT_S)
    on_time = await hands.job(run_id, "a")
    await hands.runtime.advance(2 * BEAT_S)
    await hands.until(run_id, "attempt.late")
    late = await hands.job(run_id, "a")

    assert (on_time.status, on_time.phase) == (JobStatus.RUNNING, "executing")
    assert (late.status, late.phase) == (JobStatus.RUNNING, "late")


async def test_a_late_attempt_that_is_heard_again_goes_on_as_before(hands: Hands) -> None:
    run_id = await hands.submit(a_job("a"))
    claim = await hands.start()
    await hands.runtime.advance(4 * BEAT_S)
    await hands.until(run_id, "attempt.late")

    await hands.beat(claim)
    while "attempt.heard_again" not in await kinds(hands, run_id):
        await hands.runtime.advance(0.5)  # who looks may not have gone to sleep yet

    assert (await hands.job(run_id, "a")).phase == "executing"
    assert (await hands.beat(claim)).verdict == "renewed"


async def test_an_attempt_is_late_once_and_then_lost(hands: Hands) -> None:
    run_id = await hands.submit(a_job("a", on_lost="fail"))
    await hands.start()

    await hands.runtime.advance(4 * BEAT_S)
    await hands.until(run_id, "attempt.late")
    await hands.runtime.advance(31)
    await hands.until(run_id, "attempt.lost")

    assert await kinds(hands, run_id) == ["attempt.late", "attempt.lost"]


async def test_an_attempt_that_has_ended_is_not_late(hands: Hands) -> None:
    run_id = await hands.submit(a_job("a"))
    await hands.do()

    await hands.runtime.advance(60)

    assert "attempt.late" not in await kinds(hands, run_id)
