"""Seeded pipelines of shell jobs, all of which tell the ledger what becomes of them."""

import random
from pathlib import Path
from typing import Final

from faults.chaos.plan import ChaosPlan, Kind
from shared.protocol.pipeline import JobSpec, OnLost, PipelineSpec, RetryRule

CODES: Final = (1, 2, 3, 42, 77)
CHATTY_LINES: Final = (800, 3_000)  # more than fits into a finish, at the upper end
NEEDS: Final = 0.3  # of the jobs wait for another one
TIMEOUT_S: Final = 600.0
INHERITED: Final = ("PATH", "TMPDIR", "LANG", "CHAOS_WORKER", "CHAOS_SLOTS")


def pipelines(plan: ChaosPlan, folder: Path, prefix: str) -> list[PipelineSpec]:
    """What is submitted; the same for the same plan and seed."""
    chance = random.Random(f"workload {plan.seed}")
    work = plan.workload
    made: list[PipelineSpec] = []
    left = work.jobs
    while left > 0:
        count = min(left, work.jobs_per_run)
        made.append(_pipeline(chance, plan, folder, f"{prefix}-{len(made)}", count))
        left -= count
    return made


def _pipeline(
    chance: random.Random, plan: ChaosPlan, folder: Path, name: str, count: int
) -> PipelineSpec:
    jobs: list[JobSpec] = []
    makers: list[str] = []
    for n in range(count):
        kind = _kind(chance, plan)
        if kind is Kind.TAKING and not makers:
            kind = Kind.MAKING
        job = _job(chance, plan, kind, f"job-{n}", [job.id for job in jobs], makers)
        if kind is Kind.MAKING:
            makers.append(job.id)
        jobs.append(job)
    return PipelineSpec(
        name=name,
        env={"CHAOS_FOLDER": str(folder)},
        inherit_env=INHERITED,
        timeout_s=TIMEOUT_S,
        retry=RetryRule(max=plan.workload.retries, delay_s=0.2, backoff=1.0),
        jobs=tuple(jobs),
    )


def _kind(chance: random.Random, plan: ChaosPlan) -> Kind:
    kinds = plan.workload.kinds
    return chance.choices(list(kinds), list(kinds.values()))[0]


def _job(
    chance: random.Random,
    plan: ChaosPlan,
    kind: Kind,
    job_id: str,
    before: list[str],
    makers: list[str],
) -> JobSpec:
    seconds = chance.uniform(0.3, 1.0) * plan.workload.seconds if kind is Kind.SLOW else 0.0
    code = chance.choice(CODES) if kind in (Kind.FAILING, Kind.FLAKY) else 0
    lines = chance.randint(*CHATTY_LINES) if kind is Kind.CHATTY else chance.randint(0, 3)
    needs: tuple[str, ...] = ()
    inputs: tuple[str, ...] = ()
    if kind is Kind.TAKING:
        needs = inputs = (chance.choice(makers),)
    elif before and chance.random() < NEEDS:
        needs = (chance.choice(before),)
    return JobSpec(
        id=job_id,
        command=f'exec sh "$CHAOS_FOLDER/job.sh" {kind.value} {seconds:.2f} {code} {lines}',
        needs=needs,
        inputs=inputs,
        artifacts=("out.txt",) if kind is Kind.MAKING else (),
        on_lost=OnLost(plan.workload.on_lost),
    )
