"""A node may be killed at any moment at all."""

from typing import NoReturn

import pytest

import simulation.universe
from shared.errors import Unavailable
from simulation.batch import sweep_all
from simulation.sweep import CAST, CrashPoint, moments, sweep

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

CRASH_POINTS = 1_000


@pytest.fixture(scope="module")
def places() -> list[str]:
    return moments()


def test_a_story_has_the_same_moments_whenever_it_is_told(places: list[str]) -> None:
    assert moments() == places


def test_the_story_has_moments_on_every_node_and_at_every_kind_of_place(places: list[str]) -> None:
    assert {place.split(" at ")[0] for place in places} == set(CAST)
    for name in (
        "jobstore at store.before_call",
        "jobstore at store.after_call",
        "jobstore at jobstore.store.after_commit",
        "jobstore at jobstore.finish.before_reply",
        "gateway at gateway.claim.before_send",
        "worker-0 at worker.finish.after_send",
        "worker-0 at worker.spawn.unnoted",
        "worker-0 at worker.settle.after",
    ):
        assert name in places, name


def test_no_kill_at_any_moment_breaks_a_promise(places: list[str]) -> None:
    assert 2 * len(places) >= CRASH_POINTS

    broken = {k: v for part in sweep_all(len(places), jobs=2) for k, v in part.items()}

    assert broken == {}


@pytest.mark.prove
def test_nor_while_a_task_waits_for_a_callback() -> None:
    places = moments("tasks")

    broken = {k: v for part in sweep_all(len(places), 2, "tasks") for k, v in part.items()}

    assert broken == {}


def test_a_store_that_cannot_be_read_in_the_end_breaks_a_promise(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def in_vain(_: object) -> NoReturn:
        raise Unavailable("it is not to be read")

    monkeypatch.setattr(simulation.universe, "read_all", in_vain)

    ((violation,),) = sweep([CrashPoint(10**9, story="tasks")]).values()

    assert violation == "P3: the store could not be read within 60 s"
