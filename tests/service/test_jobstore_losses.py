"""A worker that was restarted says itself that it lost a job: it counts as any other loss."""

import pytest

from shared.protocol.gateway import Outcome
from shared.protocol.jobs import JobView
from shared.protocol.pipeline import OnLost
from tests.support.jobstore import Hands, a_job


async def lost(hands: Hands, times: int, **fields: object) -> JobView:
    """The job, after it was reported as lost."""
    run_id = await hands.submit(a_job("a", **fields))
    for _ in range(times):
        await hands.finish(await hands.start(), None, outcome=Outcome.LOST)
    return await hands.job(run_id, "a")


@pytest.mark.parametrize(
    ("on_lost", "times", "status"),
    [(OnLost.REQUEUE, 1, "queued"), (OnLost.REQUEUE, 3, "failed"), (OnLost.FAIL, 1, "failed")],
)
async def test_a_reported_loss_costs_what_the_job_says(
    hands: Hands, on_lost: OnLost, times: int, status: str
) -> None:
    job = await lost(hands, times, on_lost=on_lost)

    assert (job.status.value, job.tries) == (status, times)


async def test_a_reported_loss_names_the_worker(hands: Hands) -> None:
    job = await lost(hands, 1, on_lost=OnLost.FAIL)

    assert job.reason is not None
    assert (job.reason.who, job.reason.what) == ("worker", "lost")


async def test_a_reported_loss_and_silence_are_counted_together(hands: Hands) -> None:
    run_id = await hands.submit(a_job("a"))
    for _ in range(2):
        await hands.start()
        await hands.runtime.advance(40)
    await hands.finish(await hands.start(), None, outcome=Outcome.LOST)

    job = await hands.job(run_id, "a")

    assert job.reason is not None
    assert job.reason.what == "poison"
