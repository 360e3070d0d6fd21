"""A job's way through a worker, and how the worker polls for it."""

from shared.protocol.gateway import ClaimReply, Outcome
from tests.support.gateway import Job
from tests.support.worker_stage import WorkerStage

# -- flow 1 and 5 --------------------------------------------------------------------------------


async def test_a_job_is_announced_run_and_reported_in_this_order(stage: WorkerStage) -> None:
    attempt, process = await stage.running(Job())

    assert stage.registry.reports[-1].status == "Working"
    assert stage.registry.reports[-1].attempts == (attempt.attempt_id,)
    process.end(0)
    await stage.settled(attempt)
    await stage.until(lambda: stage.registry.reports[-1].status == "readyForWork")

    assert attempt.result.outcome is Outcome.EXITED
    assert [c for c in stage.gateway.calls if c != "claim"] == ["run", "finish"]
    assert stage.workspace.opened[attempt.attempt_id].is_removed


async def test_a_non_zero_exit_is_a_fact_in_the_report(stage: WorkerStage) -> None:
    attempt, process = await stage.running(Job())

    process.end(3)
    await stage.settled(attempt)

    assert (attempt.result.outcome, attempt.result.exit_code) == (Outcome.EXITED, 3)


async def test_the_environment_is_layered_and_names_the_attempt(stage: WorkerStage) -> None:
    attempt, process = await stage.running(Job(env={"BOTH": "job", "DRAWBAR_TRY": "99"}))

    env = process.launch.env

    assert (env["BASE"], env["BOTH"], env["DRAWBAR_TRY"]) == ("1", "job", "1")
    assert env["DRAWBAR_ATTEMPT_ID"] == attempt.attempt_id
    assert (env["DRAWBAR_RUN_ID"], env["DRAWBAR_FENCE"]) == ("1", "1")


async def test_a_slot_is_taken_until_the_process_tree_is_gone(stage: WorkerStage) -> None:
    first, process = await stage.running(Job())
    process.reaping.clear()
    second = stage.gateway.add(Job())

    process.end(0)
    await stage.runtime.advance(1)
    assert len(stage.gateway.asks) == 1
    process.reaping.set()
    await stage.runner.until_started(2)

    assert process.is_reaped
    assert first.attempt_id != second.attempt_id


async def test_a_slot_is_free_again_while_the_result_waits_for_its_receipt(
    stage: WorkerStage,
) -> None:
    stage.gateway.away.add("finish")
    _, process = await stage.running(Job())
    stage.gateway.add(Job())

    process.end(0)

    await stage.until(lambda: len(stage.runner.started) == 2)


async def test_a_worker_with_too_many_unreported_results_claims_no_more(stage: WorkerStage) -> None:
    stage.gateway.away.add("finish")
    for _ in range(30):
        stage.gateway.add(Job())
    worker = await stage.worker(slots=1)

    for n in range(1, 22):
        await stage.until(lambda n=n: len(stage.runner.started) == n)  # type: ignore[misc]
        stage.runner.started[-1].end(0)
    await stage.runtime.advance(1)
    assert len(stage.runner.started) == 21  # 4 slots' worth + 16 may wait, the next is one more
    stage.gateway.away.clear()

    await stage.until(lambda: len(stage.runner.started) > 21)
    assert worker.worker_id == "w-w"


# -- polling ---------------------------------------------------------------------------------------


async def test_one_poll_asks_for_all_free_slots(stage: WorkerStage) -> None:
    for _ in range(5):
        stage.gateway.add(Job())

    await stage.worker(slots=3)
    await stage.runner.until_started(3)

    assert [ask.free_slots for ask in stage.gateway.asks] == [3]


async def test_claims_of_one_answer_share_one_report(stage: WorkerStage) -> None:
    for _ in range(32):
        stage.gateway.add(Job())

    await stage.worker(slots=32)
    await stage.runner.until_started(32)

    working = [r for r in stage.registry.reports if r.status == "Working"]
    assert len(working) == 1
    assert len(working[0].attempts) == 32


async def test_a_failed_poll_is_sent_again_under_the_same_claim_id(stage: WorkerStage) -> None:
    stage.gateway.forgets.add("claim")
    attempt = stage.gateway.add(Job())
    await stage.worker()
    await stage.until(lambda: len(stage.gateway.asks) >= 1, step_s=0)

    stage.gateway.forgets.clear()
    await stage.until(lambda: bool(stage.runner.started))
    stage.runner.started[0].end(0)
    await stage.settled(attempt)
    await stage.gateway.polled.wait()

    ids = [ask.claim_id for ask in stage.gateway.asks]
    assert ids[0] == ids[1]
    assert ids[-1] != ids[0]


async def test_a_no_job_with_retry_after_is_obeyed(stage: WorkerStage) -> None:
    stage.gateway.no_job = ClaimReply(claims=(), reason="jobstore_unavailable", retry_after_s=4.0)
    await stage.worker()
    await stage.gateway.polled.wait()

    stage.gateway.end_polls()
    await stage.runtime.advance(3.9)
    before = len(stage.gateway.asks)
    await stage.runtime.advance(1.2)

    assert (before, len(stage.gateway.asks)) == (1, 2)


async def test_after_an_outage_of_the_job_service_the_same_claim_is_asked_for_again(
    stage: WorkerStage,
) -> None:
    stage.gateway.no_job = ClaimReply(claims=(), reason="jobstore_unavailable", retry_after_s=1.0)
    await stage.worker()
    await stage.gateway.polled.wait()

    stage.gateway.end_polls()
    await stage.runtime.advance(2.0)

    first, second = stage.gateway.asks
    assert first.claim_id == second.claim_id


async def test_a_gateway_that_is_away_is_asked_ever_more_rarely(stage: WorkerStage) -> None:
    stage.gateway.away.add("claim")

    await stage.worker()
    await stage.runtime.advance(300)

    assert 30 <= len(stage.gateway.asks) <= 120  # 300 s at a mean of 5 s, and the first few


async def test_empty_answers_that_do_not_wait_do_not_make_the_worker_spin(
    stage: WorkerStage,
) -> None:
    await stage.worker()
    await stage.gateway.polled.wait()
    stage.gateway.answers_at_once = True
    stage.gateway.end_polls()
    await stage.runtime.advance(60)

    assert len(stage.gateway.asks) < 240
