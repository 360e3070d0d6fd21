"""The points that there are, and what can be done at each."""

import re
from pathlib import Path

import yaml

from faults.plan import PointPlan
from faults.points import OUTBOX, POINTS, STEPS, STREAMS, WITHIN, Action, matching
from faults.proxy.plan import ProxyPlan
from faults.proxy.words import KINDS
from shared.services import Components, Execution, Registry, SharedValues, WholeJobService


def test_a_stream_is_offered_only_what_can_be_done_to_it() -> None:
    for verb in STREAMS:
        for point in matching(f"*.{verb}.received"):
            assert not {Action.DUPLICATE, Action.REORDER, Action.DROP_REPLY} & {*point.actions}


def test_every_action_can_be_done_somewhere_and_every_name_has_three_parts() -> None:
    assert {action for point in POINTS.values() for action in point.actions} == set(Action)
    assert all(name.count(".") == 2 for name in POINTS)
    assert len(matching("*.finish.*")) >= 8


def test_the_catalogue_has_the_points_that_the_code_names_and_no_others() -> None:
    root = Path(__file__).parents[2]
    packages = ("shared", "jobstore", "gateway", "registry", "worker", "drawbar")
    code = "\n".join(path.read_text() for name in packages for path in (root / name).rglob("*.py"))
    named = set(re.findall(r'(?:await faultpoint|await through)\(\s*"([^"]+)"', code))
    named |= set(re.findall(r'"(worker\.task\.\w+)"', code))  # by a name of their own

    assert named == {step.name for step in STEPS}
    stores = re.findall(r'faultpoint\(f"\{self\._name\}(\.store\.\w+)"', code)
    assert {f"{name}{store}" for name in ("jobstore", "registry") for store in stores} <= set(
        POINTS
    )
    steps = set(re.findall(r'self\._disk\("(\w+)"\)', code))
    assert steps == set(OUTBOX)


def test_every_verb_of_every_protocol_has_its_points() -> None:
    for protocol in (WholeJobService, Execution, SharedValues, Components):
        for verb in (name for name in vars(protocol) if not name.startswith("_")):
            if verb not in WITHIN:
                assert f"jobstore.{verb}.received" in POINTS
    assert {f"registry.{verb}.before_reply" for verb in vars(Registry) if verb[0] != "_"} <= set(
        POINTS
    )


def test_the_plans_of_the_page_about_faults_can_be_used() -> None:
    page = (Path(__file__).parents[2] / "docs" / "faults.md").read_text()
    blocks = dict(re.findall(r"```yaml\n# (\w+)\n(.*?)```", page, re.DOTALL))

    assert len(PointPlan.model_validate(yaml.safe_load(blocks["points"])).faults) == 5
    assert len(ProxyPlan.model_validate(yaml.safe_load(blocks["proxies"])).proxies) == 2
    assert all(f"`{kind}`" in page for kind in (*KINDS, *Action))
