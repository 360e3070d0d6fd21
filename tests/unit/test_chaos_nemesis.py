"""What a plan orders is done, and written down, also where steps overlap or the time is over."""

import asyncio
import random
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from faults.chaos.disk import SmallDisk
from faults.chaos.member import Member
from faults.chaos.nemesis import Nemesis
from faults.chaos.network import Networks
from faults.chaos.plan import ChaosPlan
from faults.chaos.points import PointFaults
from faults.chaos.recorder import Recorder
from faults.chaos.schedule import acts_of
from faults.plan import PointFault
from faults.proxy.board import Board
from faults.proxy.words import PROXY_FAULTS
from tests.support.runtime import ManualRuntime

ERROR = PointFault.model_validate({"at": "jobstore.claim.received", "action": "error"})
DELAY = PointFault.model_validate({"at": "jobstore.claim.received", "action": "delay"})


class Place:
    """Takes faults at points, and has neither processes nor networks."""

    def __init__(self, plan: ChaosPlan, recorder: Recorder, runtime: ManualRuntime) -> None:
        self.members: dict[str, Member] = {}
        self.networks = Networks(plan, recorder, runtime)
        self.disk: SmallDisk | None = None
        self.skipped: dict[str, str] = {}
        self.on: dict[str, Sequence[PointFault]] = {}
        self._points = PointFaults(self._put, runtime, plan.seed)

    async def disturb(self, target: str, faults: Sequence[PointFault], for_s: float) -> bool:
        await self._points.disturb(target, faults, for_s)
        return True

    async def _put(self, target: str, faults: Sequence[PointFault]) -> None:
        self.on[target] = faults


class Drill:
    """A nemesis at `place`, and the clock that it goes by."""

    def __init__(self, folder: Path, *steps: dict[str, Any]) -> None:
        self.runtime = ManualRuntime()
        self.recorder = Recorder(folder / "history.jsonl", self.runtime)
        self.plan = ChaosPlan.model_validate({"name": "test", "duration_s": 20, "steps": steps})
        self.place = Place(self.plan, self.recorder, self.runtime)
        self.nemesis = Nemesis(self.place, self.recorder, self.runtime, lambda: 0)

    def close(self) -> None:
        self.recorder.close()

    def begin(self) -> asyncio.Task[None]:
        work = self.nemesis.torment(acts_of(self.plan), self.plan.steps, self.runtime.mono())
        return asyncio.ensure_future(work)

    def noted(self) -> list[tuple[float, float]]:
        """From when until when each fault was on."""
        faults = [e for e in self.recorder.entries if e.op == "fault"]
        return [(e.at, e.facts["until"]) for e in faults]


def points(fault: PointFault, **when: Any) -> dict[str, Any]:
    faults = [fault.model_dump(mode="json")]
    return {"what": "points", "target": "jobstore", "faults": faults, **when}


@pytest.fixture
def drilled(tmp_path: Path) -> Iterator[Callable[..., Drill]]:
    """Makes one of the steps that it is given."""
    opened: list[Drill] = []

    def drill(*steps: dict[str, Any]) -> Drill:
        opened.append(Drill(tmp_path, *steps))
        return opened[-1]

    yield drill
    for each in opened:
        each.close()


async def test_a_step_that_ends_takes_no_other_steps_faults_along(
    drilled: Callable[..., Drill],
) -> None:
    drill = drilled(points(ERROR, at=1, for_s=2), points(DELAY, at=2, for_s=4))
    work = drill.begin()

    seen = []
    for after_s in (1.5, 1, 2, 2):
        await drill.runtime.advance(after_s)
        seen.append([fault.action.value for fault in drill.place.on.get("jobstore", ())])
    await work

    assert seen == [["error"], ["error", "delay"], ["delay"], []]
    assert drill.noted() == [(1.0, 3.0), (2.0, 6.0)]


async def test_a_fault_that_is_on_when_the_time_is_over_was_one(
    drilled: Callable[..., Drill],
) -> None:
    drill = drilled(points(ERROR, at=1, for_s=60))
    work = drill.begin()
    await drill.runtime.advance(5)

    work.cancel()
    await asyncio.wait([work])

    assert drill.noted() == [(1.0, 5.0)]
    assert drill.nemesis.done == {"points": 1}


async def test_what_cannot_be_done_here_is_neither_done_nor_missed(
    drilled: Callable[..., Drill],
) -> None:
    drill = drilled({"what": "kill", "target": "worker", "at": 1})
    drill.place.skipped["kill of worker"] = "not ours"
    work = drill.begin()
    await drill.runtime.advance(2)
    await work

    assert not drill.nemesis.done
    assert not drill.nemesis.missed


def test_a_fault_that_is_put_beside_another_leaves_its_count_alone() -> None:
    reset, late = PROXY_FAULTS.validate_python(
        [{"kind": "5xx_burst", "times": 1}, {"kind": "lost_response"}]
    )
    board = Board(random.Random(1), lambda kind, facts: None)
    (first,) = board.add([reset])
    board.struck(first)

    added = board.add([late])
    assert [active.is_spent for active in board.active] == [True, False]

    board.remove(added)
    assert board.active == (first,)
