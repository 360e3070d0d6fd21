"""Runs that go on from others, and jobs that are left out: skip, resume, retry."""

import pytest

from shared.errors import BadPipeline, Conflict, KeyReused, UnknownRun
from shared.ids import JobId, RunId
from shared.protocol import jobs as j
from shared.protocol.pipeline import JobSpec, OnError, PipelineSpec
from tests.support.jobstore import Hands, a_job

CHAIN = (a_job("a"), a_job("b", needs=["a"]), a_job("c", needs=["b"]))


async def resume(hands: Hands, run_id: RunId, *jobs: JobSpec, failed_only: bool = False) -> RunId:
    ask = j.Resume(run_id=run_id, failed_only=failed_only)
    return await hands.submit(*(jobs or CHAIN), resume=ask)


async def test_a_skipped_job_lets_others_run_as_if_it_had_succeeded(hands: Hands) -> None:
    run_id = await hands.submit(*CHAIN, skip=("a",))

    order = await hands.play()

    assert order == ["b", "c"]
    assert (await hands.status(run_id)) == {
        "run": "success",
        "a": "skipped",
        "b": "success",
        "c": "success",
    }
    assert await hands.reason(run_id, "a") == "operator"


async def test_skipped_stages_hold_nothing_up(hands: Hands) -> None:
    run_id = await hands.submit(
        a_job("a", stage="one"),
        a_job("b", stage="two"),
        a_job("c", stage="three"),
        stages=["one", "two", "three"],
        skip=("a", "b"),
    )

    assert await hands.play() == ["c"]
    assert await hands.stages(run_id) == ["success"] * 3


async def test_a_run_of_which_all_is_skipped_has_succeeded(hands: Hands) -> None:
    run_id = await hands.submit(a_job("a"), a_job("tidy", when="always"), skip=("a", "tidy"))

    assert (await hands.status(run_id))["run"] == "success"


async def test_a_job_that_is_not_there_cannot_be_skipped(hands: Hands) -> None:
    with pytest.raises(BadPipeline) as caught:
        await hands.submit(a_job("compile"), skip=("complie",))

    assert "did you mean 'compile'?" in str(caught.value)
    assert (await hands.service.list_runs(j.RunFilter(limit=9))).runs == ()


async def test_a_skipped_job_is_no_failure_to_mend(hands: Hands) -> None:
    await hands.submit(a_job("a"), a_job("mend", needs=["a"], when="on_failure"), skip=("a",))

    assert await hands.play() == []


async def test_a_resumed_run_carries_over_what_succeeded(hands: Hands) -> None:
    run_id = await hands.submit(*CHAIN)
    first = await hands.start()
    await hands.finish(first, log=b"made it\n")
    await hands.do(exit_code=1)

    new = await resume(hands, run_id)
    order = await hands.play()
    log = hands.service.read_log(new, JobId("a"), attempt=None, offset=0, follow=False)

    assert order == ["b", "c"]
    assert (await hands.status(new))["run"] == "success"
    assert b"".join([piece async for piece in log]) == b"made it\n"


async def test_a_resumed_run_may_have_a_mended_document(hands: Hands) -> None:
    run_id = await hands.submit(*CHAIN)
    await hands.play("b")
    mended = (a_job("a"), a_job("b", needs=["a"], command="true --right"), a_job("new"))

    new = await resume(hands, run_id, *mended)

    assert await hands.play() == ["b", "new"]
    assert (await hands.status(new))["run"] == "success"


async def test_with_failed_only_what_never_ran_is_left_out(hands: Hands) -> None:
    run_id = await hands.submit(*CHAIN, a_job("d"))
    await hands.play("b")

    new = await resume(hands, run_id, *CHAIN, a_job("d"), failed_only=True)
    order = await hands.play()

    assert order == ["b"]
    assert await hands.status(new) == {
        "run": "success",
        "a": "success",
        "b": "success",
        "c": "skipped",
        "d": "success",
    }
    assert await hands.reason(new, "c") == "resume"


async def test_runs_of_a_chain_are_counted(hands: Hands) -> None:
    first = await hands.submit(*CHAIN)
    await hands.play("a")
    second = await resume(hands, first)
    await hands.play("a")
    third = (
        await hands.service.retry(
            j.RetryRequest(idempotency_key="again", run_id=second, failed_only=False)
        )
    ).run_id
    await hands.play()
    other = await resume(hands, first)

    views = [await hands.service.show_run(run) for run in (first, second, third, other)]
    assert [(view.attempt, view.retry_of) for view in views] == [
        (1, None),
        (2, first),
        (3, second),
        (4, first),
    ]


async def test_only_an_ended_run_with_something_left_is_gone_on_from(hands: Hands) -> None:
    run_id = await hands.submit(*CHAIN)

    with pytest.raises(Conflict):
        await resume(hands, run_id)
    await hands.play()
    with pytest.raises(Conflict):
        await resume(hands, run_id)
    with pytest.raises(UnknownRun):
        await resume(hands, RunId(99))


async def test_the_same_key_names_the_same_resumed_run(hands: Hands) -> None:
    run_id = await hands.submit(*CHAIN)
    await hands.play("b")

    def ask(*, failed_only: bool) -> j.SubmitRequest:
        return j.SubmitRequest(
            idempotency_key="key",
            pipeline=PipelineSpec(name="test", jobs=CHAIN),
            resume=j.Resume(run_id=run_id, failed_only=failed_only),
        )

    first = await hands.service.submit(ask(failed_only=False))
    await hands.play("b")

    assert await hands.service.submit(ask(failed_only=False)) == first
    with pytest.raises(KeyReused):
        await hands.service.submit(ask(failed_only=True))


async def test_a_retried_run_keeps_what_its_pipeline_says(hands: Hands) -> None:
    document = PipelineSpec.model_validate(
        {
            "name": "whole",
            "description": "all of it",
            "max_workers": 3,
            "on_error": "cancel",
            "params": {"day": "monday"},
            "inherit_env": "default",
            "plugins": ["checks.py"],
            "security": {"allow_shell": False, "policy": "block"},
            "notify": {"email": ["a@example.org"]},
            "schedule": {"cron": "0 3 * * *"},
            "stages": ["one"],
            "jobs": [
                a_job("a", stage="one", lock="db", matrix={"py": "3"}, argv=["x"], command=None)
            ],
        }
    )
    ask = j.SubmitRequest(idempotency_key="key", pipeline=document)
    run_id = (await hands.service.submit(ask)).run_id
    await hands.cancel(run_id)
    retry = j.RetryRequest(idempotency_key="again", run_id=run_id, failed_only=False)
    new = (await hands.service.retry(retry)).run_id

    kept = (await hands.service._store.past_run(new)).pipeline

    resolved = document.jobs[0].model_copy(
        update={"timeout_s": document.timeout_s, "retry": document.retry}
    )
    assert kept == document.model_copy(update={"jobs": (resolved,)})
    assert kept.on_error is OnError.CANCEL
