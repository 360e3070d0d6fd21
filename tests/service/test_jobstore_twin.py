"""The store and its slow twin, through the same seeded life of a run, agree after every step."""

import os
import random
from collections.abc import Mapping

import pytest

from shared.ids import RunId
from shared.protocol.gateway import Claim, Outcome
from shared.protocol.pipeline import JobSpec, PipelineSpec
from tests.support.job_twin import TwinRun
from tests.support.jobstore import Hands, a_job

SEEDS = int(os.environ.get("DRAWBAR_TWIN_SEEDS", "24"))


def a_pipeline(chance: random.Random) -> PipelineSpec:
    """Up to nine jobs, in stages or without, with conditions of every kind."""
    stages = ["one", "two", "three"][: chance.choice((0, 0, 2, 3))]
    jobs: list[JobSpec] = []
    for n in range(chance.randint(3, 9)):
        stage = stages[min(n * len(stages) // 7, len(stages) - 1)] if stages else None
        needs = chance.sample([job.id for job in jobs], min(len(jobs), chance.choice((0, 1, 1, 2))))
        jobs.append(
            a_job(
                f"j{n}",
                stage=stage,
                needs=needs,
                when=chance.choice(("on_success",) * 4 + ("always", "on_failure")),
                allow_failure=chance.random() < 0.2,
            )
        )
    on_error = chance.choice(("continue", "continue", "stop"))
    return PipelineSpec.model_validate(
        {"name": "twin", "jobs": jobs, "stages": stages, "on_error": on_error}
    )


@pytest.mark.parametrize("seed", range(SEEDS))
async def test_the_store_does_what_the_rules_say(hands: Hands, seed: int) -> None:
    chance = random.Random(seed)
    pipeline = a_pipeline(chance)
    twin = TwinRun(pipeline)
    run_id = await hands.submit(*pipeline.jobs, stages=pipeline.stages, on_error=pipeline.on_error)
    running: list[Claim] = []
    await agree(hands, run_id, twin)

    while twin.queue or running:
        step = chance.choice(("start", "start", "end", "end", "end", "mark", "cancel"))
        if step == "start" and twin.queue and len(running) < 3:
            claim = await hands.start()
            assert claim.job_id == twin.queue[0]
            twin.jobs[claim.job_id].status = "running"
            running.append(claim)
        elif step == "end" and running:
            claim = running.pop(chance.randrange(len(running)))
            code = chance.choice((0, 0, 1))
            await hands.finish(claim, code, outcome=Outcome.EXITED)
            twin.end(claim.job_id, "failed" if code else "success")
        elif step == "mark" and chance.random() < 0.3:
            name = chance.choice(list(twin.jobs))
            if twin.jobs[name].status != "running":
                await hands.mark(run_id, name)
                twin.mark(name)
        elif step == "cancel" and chance.random() < 0.1:
            name = chance.choice(list(twin.jobs))
            if twin.jobs[name].status in ("blocked", "queued"):
                await hands.cancel(run_id, name)
                twin.end(name, "cancelled")
        await agree(hands, run_id, twin)

    assert all(job.ended for job in twin.jobs.values())
    assert (await hands.status(run_id))["run"] == twin.status


async def agree(hands: Hands, run_id: RunId, twin: TwinRun) -> None:
    view = await hands.service.show_run(run_id)
    expected = {name: job.status for name, job in twin.jobs.items()}
    assert {job.id: job.status.value for job in view.jobs} == expected
    whys: dict[str, str | None] = {
        job.id: job.reason.what for job in view.jobs if job.status == "skipped" and job.reason
    }
    assert _kinds(whys) == _kinds(
        {name: job.why for name, job in twin.jobs.items() if job.status == "skipped"}
    )
    assert view.status.is_ended == (twin.status != "open")


def _kinds(whys: Mapping[str, str | None]) -> dict[str, str | None]:
    """Which of a job's stage and its needs is looked at first is no rule."""
    return {name: "dependency" if why == "stage" else why for name, why in whys.items()}
