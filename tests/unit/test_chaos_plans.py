"""Chaos plans: which are understood, what they come to, and how they are made smaller."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from faults.chaos.minimize import minimized
from faults.chaos.plan import ChaosPlan, Promise, chaos_plan_from, write_plan
from faults.chaos.schedule import acts_of, digest_of
from faults.chaos.workload import pipelines
from shared.errors import Misconfigured
from tests.support.golden import ROOT

SHIPPED = sorted((ROOT / "examples/chaos").glob("*.yaml"))
KILL = {"what": "kill", "target": "any", "every": 2, "jitter": 1}


def a_plan(**fields: Any) -> ChaosPlan:
    return ChaosPlan.model_validate({"name": "test", "duration_s": 20, **fields})


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_every_shipped_plan_is_understood_and_named_as_its_file(path: Path) -> None:
    plan = chaos_plan_from(path)

    assert plan.name == path.stem
    assert plan.description
    assert acts_of(plan)
    assert plan.expect


def test_plans_are_shipped_for_every_promise_and_every_flow() -> None:
    stems = [path.stem for path in SHIPPED]

    for number, promise in enumerate(Promise, start=1):
        own = [stem for stem in stems if stem.startswith(f"p{number}-")]
        assert own
        assert promise in chaos_plan_from(ROOT / f"examples/chaos/{own[0]}.yaml").expect
    assert [s[:5] for s in stems if s.startswith("flow")] == [f"flow{n}" for n in range(1, 7)]


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"steps": [{"what": "kill", "target": "worker"}]}, "give one of at, every"),
        ({"steps": [{"what": "kill", "target": "moon", "at": 1}]}, "steps.0.kill.target"),
        ({"steps": [{"what": "melt", "at": 1}]}, "steps.0"),
        ({"steps": [{"what": "kill", "target": "worker-7", "at": 1}]}, "there is no worker-7"),
        ({"steps": [{"what": "network", "hop": "moon-gateway", "at": 1}]}, "steps.0.network.hop"),
        ({"steps": [{"what": "kill", "target": "any", "at": 1, "times": 2}]}, "go with every"),
        ({"workload": {"kinds": {"quick": 0}}}, "at least one kind"),
        ({"workload": {"jbos": 3}}, "workload.jbos"),
        ({"expect": ["P11"]}, "expect.0"),
    ],
)
def test_a_mistake_in_a_plan_is_told_with_its_place(
    tmp_path: Path, fields: dict[str, Any], says: str
) -> None:
    path = tmp_path / "plan.yaml"
    path.write_text(yaml.safe_dump({"name": "test", **fields}))

    with pytest.raises(Misconfigured, match=says):
        chaos_plan_from(path)


@pytest.mark.parametrize("text", ["[", "\x00", "a: &a [*a]", "- 1", "name: ../x"])
def test_what_is_no_plan_is_a_mistake_and_no_crash(tmp_path: Path, text: str) -> None:
    path = tmp_path / "plan.yaml"
    path.write_text(text)

    with pytest.raises(Misconfigured):
        chaos_plan_from(path)


def test_a_plan_that_was_written_is_read_as_the_same(tmp_path: Path) -> None:
    plan = chaos_plan_from(ROOT / "examples/chaos/storm.yaml")

    write_plan(plan, tmp_path / "again.yaml")

    assert chaos_plan_from(tmp_path / "again.yaml") == plan


def test_the_seed_alone_decides_who_is_struck_when() -> None:
    plan = a_plan(steps=[KILL], seed=3)

    assert digest_of(acts_of(plan)) == digest_of(acts_of(a_plan(steps=[KILL], seed=3)))
    assert digest_of(acts_of(plan)) != digest_of(acts_of(a_plan(steps=[KILL], seed=4)))
    assert len(acts_of(plan)) == 10
    assert {act.target for act in acts_of(plan)} > {"worker-0"}


def test_a_step_does_not_change_what_becomes_of_the_others() -> None:
    stop = {"what": "sigstop", "target": "worker", "every": 3}

    both = acts_of(a_plan(steps=[stop, KILL]))

    alone = [(act.at, act.target) for act in acts_of(a_plan(steps=[KILL]))]
    assert [(act.at, act.target) for act in both if act.step == 1] == alone


def test_the_seed_alone_decides_what_is_submitted(tmp_path: Path) -> None:
    plan = a_plan(workload={"jobs": 33, "jobs_per_run": 10})

    made = pipelines(plan, tmp_path, "x")

    assert made == pipelines(plan, tmp_path, "x")
    assert [len(pipeline.jobs) for pipeline in made] == [10, 10, 10, 3]


async def test_minimizing_leaves_only_the_steps_that_are_needed_to_fail() -> None:
    steps = [{"what": "kill", "target": f"worker-{n}", "every": 1} for n in range(8)]
    plan = a_plan(steps=steps, targets={"workers": 8})
    tried = 0

    async def fails(smaller: ChaosPlan) -> bool:
        nonlocal tried
        tried += 1
        targets = {getattr(step, "target", "") for step in smaller.steps}
        return {"worker-2", "worker-5"} <= targets

    smallest = await minimized(plan, fails)

    assert [getattr(step, "target", "") for step in smallest.steps] == ["worker-2", "worker-5"]
    assert {step.times for step in smallest.steps} == {1}
    assert tried < 40


async def test_a_plan_that_fails_without_any_step_is_left_with_none() -> None:
    async def fails(smaller: ChaosPlan) -> bool:
        return True

    assert (await minimized(a_plan(steps=[KILL]), fails)).steps == ()
