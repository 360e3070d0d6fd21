"""Seeded pipelines: chains, fans and stages of scripted jobs; some fail and are retried.

Some stop at a failure, some jobs run in spite of one, and some share a lock across runs.
"""

import random
from typing import Final

from shared.protocol.pipeline import (
    CheckSpec,
    JobSpec,
    OnError,
    OnLost,
    PipelineSpec,
    RetryOn,
    RetryRule,
    TaskSpec,
    When,
)
from simulation.script import WAITS

RUNS: Final = 6
LOCKS: Final = ("red", "green")
LOOKS: Final = CheckSpec(name="check_file_exists", params={"path": "out.txt"})
LONG_LOG_LINES: Final = 700  # more than fits into a finish, so that it must stream
EACH_WITH_TASKS: Final = 4  # the how-manieth universe
TASKS: Final = 0.6  # of the jobs there
LABELS: Final = {"worker-0": {"disk": "fast"}, "worker-1": {}, "worker-2": {"disk": "fast"}}


def pipelines(seed: int) -> list[PipelineSpec]:
    """What is submitted in this universe."""
    chance = random.Random(f"workload-{seed}")
    submitted = [_pipeline(chance, f"pipeline-{n}") for n in range(RUNS)]
    return [_with_tasks(chance, one) for one in submitted] if has_tasks(seed) else submitted


def has_tasks(seed: int) -> bool:
    """A share of the universes: a task costs more calls than a command."""
    return seed % EACH_WITH_TASKS == EACH_WITH_TASKS - 1


def _with_tasks(chance: random.Random, pipeline: PipelineSpec) -> PipelineSpec:
    """Most of the commands in it are tasks instead, of which some wait without a worker."""
    jobs = tuple(
        _task(chance, job, n) if chance.random() < TASKS else job
        for n, job in enumerate(pipeline.jobs)
    )
    return pipeline.model_copy(update={"jobs": jobs})


def _task(chance: random.Random, job: JobSpec, n: int) -> JobSpec:
    """The same with a task's words: it also says what it waits for, if for something."""
    waits = chance.choice(("", *WAITS))
    if waits == "job" and n == 0:  # it would wait for itself
        waits = ""
    task = TaskSpec(module="sim", function="task", runner=(*job.argv, waits or "nothing"))
    return job.model_copy(update={"argv": (), "artifacts": (), "inputs": (), "task": task})


def _pipeline(chance: random.Random, name: str) -> PipelineSpec:
    shape = chance.choice(("chain", "fan", "stages"))
    count = chance.randint(2, 5)
    stages = ("first", "second") if shape == "stages" else ()
    ids = [f"job-{n}" for n in range(count)]
    return PipelineSpec(
        name=name,
        max_workers=chance.choice((None, None, 1, 2)),
        on_error=chance.choice((OnError.CONTINUE, OnError.CONTINUE, OnError.STOP, OnError.CANCEL)),
        stages=stages,
        retry=RetryRule(
            max=chance.choice((0, 1, 3)),
            delay_s=chance.choice((0.0, 1.0, 3.0)),
            on=chance.choice((_USUAL, _USUAL, tuple(RetryOn))),
        ),
        jobs=tuple(_job(chance, shape, ids, n) for n in range(count)),
    )


_USUAL: Final = RetryRule().on


def _job(chance: random.Random, shape: str, ids: list[str], n: int) -> JobSpec:
    needs: tuple[str, ...] = ()
    if shape == "chain" and n > 0:
        needs = (ids[n - 1],)
    elif shape == "fan" and n == len(ids) - 1:
        needs = tuple(ids[:n])
    seconds = chance.choice((0.2, 1.0, 4.0, 12.0))
    lines = chance.choice((0, 0, 3, 3, LONG_LOG_LINES))
    failure_chance = chance.choice((0.0, 0.0, 0.0, 0.5))
    when = chance.choice((When.ALWAYS, When.ON_FAILURE)) if _may_vary(chance, n) else None
    return JobSpec(
        id=ids[n],
        stage=("first" if n < len(ids) / 2 else "second") if shape == "stages" else None,
        argv=("sim", str(seconds), str(failure_chance), str(lines)),
        needs=needs,
        artifacts=("*.txt",) if chance.random() < 0.4 else (),
        inputs=needs if needs and when is None and chance.random() < 0.5 else (),
        when=when or When.ON_SUCCESS,
        lock=chance.choice(LOCKS) if chance.random() < 0.3 else None,
        requires={"disk": "fast"} if chance.random() < 0.2 else {},
        timeout_s=chance.choice((60.0, 60.0, 60.0, 2.0)),
        priority=chance.choice((0, 0, 5)),
        allow_failure=chance.random() < 0.1,
        post_checks=(LOOKS,) if chance.random() < 0.2 else (),
        on_lost=OnLost.FAIL if chance.random() < 0.1 else OnLost.REQUEUE,
    )


def _may_vary(chance: random.Random, n: int) -> bool:
    """Whether the n-th job runs on another condition than the success of others."""
    return n > 0 and chance.random() < 0.2
