"""Which fault strikes where: conditions, dice and what each action does to a call."""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import ValidationError

from faults.clock import FaultyRuntime
from faults.files import FaultyFiles
from faults.hops import Side, around
from faults.injector import Injector
from faults.plan import PointPlan
from faults.points import OUTBOX, POINTS, STEPS, STREAMS, WITHIN, Action, matching
from faults.proxy.plan import ProxyPlan
from faults.proxy.words import KINDS
from shared.errors import StaleFence, Unavailable
from shared.files import DiskFiles
from shared.ids import AttemptId, ClaimId, JobId, RunId, WorkerId
from shared.protocol import gateway as g
from shared.services import Components, Execution, Registry, SharedValues, WholeJobService
from tests.support.runtime import T0, ManualRuntime
from worker.outbox.disk import DiskOutbox
from worker.outbox.interface import CannotKeep
from worker.outbox.record import Record

CLAIM = g.ClaimRequest(
    claim_id=ClaimId("c"), worker_id=WorkerId("w-2"), labels={}, free_slots=1, wait_s=0
)


class Counting:
    """A gateway that notes what reached it."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.bodies: list[bytes] = []

    async def claim(self, ask: g.ClaimRequest) -> g.ClaimReply:
        self.calls.append("claim")
        claim = g.Claim(
            attempt_id=AttemptId("a-1"),
            run_id=RunId(7),
            job_id=JobId("build"),
            fence=1,
            start_ttl_s=15,
        )
        return g.ClaimReply(claims=(claim,))

    async def refuse(self, ask: g.RefuseRequest) -> None:
        self.calls.append(f"refuse {ask.reason}")

    async def append_log(self, chunk: Any, body: AsyncIterator[bytes]) -> str:
        self.calls.append("append_log")
        self.bodies.append(b"".join([piece async for piece in body]))
        return "kept"

    async def read_input(self, ask: Any) -> AsyncIterator[bytes]:
        self.calls.append("read_input")
        yield b"0123456789"
        yield b"rest"

    def ready(self) -> str:
        return "as it is"


class Parts:
    """A service with a part that has verbs of its own."""

    def __init__(self) -> None:
        self.values = self
        self.asked: list[str] = []

    async def list_variables(self, ask: str) -> None:
        self.asked.append(ask)


class World:
    def __init__(self, *faults: dict[str, Any], seed: int = 0) -> None:
        self.runtime = ManualRuntime()
        self.told: list[dict[str, Any]] = []
        self.injector = Injector(self.runtime, self.told.append)
        self.inner = Counting()
        self.gateway: Any = around(self.inner, "worker", Side.CALLER, self.injector)
        self.put(*faults, seed=seed)

    def put(self, *faults: dict[str, Any], seed: int = 0) -> None:
        self.injector.put(PointPlan.model_validate({"seed": seed, "faults": faults}))

    async def refuse(self, reason: str = "x", worker: str = "w-1") -> None:
        await self.gateway.refuse(
            g.RefuseRequest(
                attempt_id=AttemptId("a-1"), worker_id=WorkerId(worker), fence=1, reason=reason
            )
        )


def fault(action: str, verb: str = "refuse", moment: str = "before_send", **more: Any) -> Any:
    return {"at": f"worker.{verb}.{moment}", "action": action, **more}


async def chunk() -> AsyncIterator[bytes]:
    yield b"0123456789"
    yield b"abc"


async def test_without_a_plan_every_call_goes_through() -> None:
    world = World()
    await world.refuse()
    assert world.inner.calls == ["refuse x"]
    assert world.gateway.ready() == "as it is"
    assert world.told == []


async def test_a_dropped_request_does_not_arrive_and_a_dropped_reply_does() -> None:
    world = World(fault("drop_request", times=1), fault("drop_reply"))
    for _ in range(2):
        with pytest.raises(Unavailable):
            await world.refuse()
    assert world.inner.calls == ["refuse x"]
    assert [event["action"] for event in world.told] == ["drop_request", "drop_reply"]


async def test_a_duplicate_arrives_twice_with_its_body() -> None:
    world = World(fault("duplicate", "append_log"))
    assert await world.gateway.append_log(None, chunk()) == "kept"
    assert world.inner.bodies == [b"0123456789abc"] * 2


async def test_an_error_is_the_one_that_the_plan_names() -> None:
    world = World(fault("error", code="stale_fence"))
    with pytest.raises(StaleFence):
        await world.refuse()
    assert world.inner.calls == []


async def test_after_the_answer_the_call_was_made() -> None:
    world = World(fault("error", moment="after_send"))
    with pytest.raises(Unavailable):
        await world.refuse()
    assert world.inner.calls == ["refuse x"]


async def test_a_delayed_call_is_made_when_the_time_has_passed() -> None:
    world = World(fault("delay", seconds=5))
    waiting = asyncio.ensure_future(world.refuse())
    await world.runtime.advance(4.9)
    assert world.inner.calls == []
    await world.runtime.advance(0.2)
    await waiting
    assert world.inner.calls == ["refuse x"]


async def test_a_stalled_call_goes_on_when_the_plan_changes() -> None:
    world = World(fault("stall"))
    waiting = asyncio.ensure_future(world.refuse())
    await asyncio.sleep(0)
    assert world.inner.calls == []
    world.put()
    await waiting
    assert world.inner.calls == ["refuse x"]


async def test_a_held_call_is_overtaken() -> None:
    world = World(fault("reorder", times=1, seconds=60))
    first = asyncio.ensure_future(world.refuse("first"))
    await asyncio.sleep(0)
    await world.refuse("second")
    await first
    assert world.inner.calls == ["refuse second", "refuse first"]


async def test_bytes_end_early_or_have_one_bit_flipped() -> None:
    world = World(fault("truncate", "append_log", times=1), fault("corrupt", "append_log"))
    await world.gateway.append_log(None, chunk())
    await world.gateway.append_log(None, chunk())
    short, wrong = world.inner.bodies
    assert short == b"01234"
    bits = [a ^ b for a, b in zip(wrong, b"0123456789abc", strict=True)]
    assert sum(bit.bit_count() for bit in bits) == 1


async def test_a_stream_that_is_read_is_spoiled_as_well() -> None:
    world = World(fault("truncate", "read_input"))
    assert [piece async for piece in world.gateway.read_input(None)] == [b"01234"]


async def test_where_calls_are_parts_of_a_part_one_overtakes_another() -> None:
    world = World()
    server: Any = around(Parts(), "jobstore", Side.SERVER, world.injector)
    held = {"at": "jobstore.list_variables.received", "action": "reorder", "times": 1}
    world.put({**held, "seconds": 60})
    first = asyncio.ensure_future(server.values.list_variables("first"))
    await asyncio.sleep(0)
    await server.values.list_variables("second")
    await first
    assert server.values.asked == ["second", "first"]


async def test_conditions_choose_whom_a_fault_strikes() -> None:
    world = World(
        fault("error", worker="w-1", times=1),
        fault("drop_request", run=7, job="bu*"),
    )
    await world.refuse(worker="w-2")  # not this worker, and its run is not known yet
    await world.gateway.claim(CLAIM)
    with pytest.raises(Unavailable, match="dropped"):
        await world.refuse(worker="w-2")  # a claim told what the attempt is of
    assert world.told[-1]["job"] == "build"


async def test_a_fault_lets_some_pass_and_strikes_only_in_its_time() -> None:
    world = World(fault("error", skip=1, times=1, after_s=10, until_s=20))
    await world.refuse("too early")
    await world.runtime.advance(10)
    await world.refuse("let pass")
    with pytest.raises(Unavailable):
        await world.refuse("struck")
    await world.refuse("once is enough")
    assert len(world.inner.calls) == 3


async def test_one_seed_makes_the_same_choices() -> None:
    async def struck(seed: int) -> list[bool]:
        world = World(fault("error", probability=0.5), seed=seed)
        found = []
        for _ in range(30):
            try:
                await world.refuse()
            except Unavailable:
                found.append(True)
            else:
                found.append(False)
        return found

    assert await struck(1) == await struck(1)
    assert await struck(1) != await struck(2)


def a_clock(action: str, **more: Any) -> dict[str, Any]:
    return {"at": "worker.clock.read", "action": action, **more}


async def test_a_clock_is_set_forward_and_back_while_durations_stay() -> None:
    world = World(
        a_clock("clock_skew", seconds=3600, until_s=20),
        a_clock("clock_skew", seconds=-60, after_s=10),
    )
    runtime = FaultyRuntime(world.runtime, "worker", world.injector)

    async def wrong_by(after_s: float) -> float:
        await world.runtime.advance(after_s)
        return (runtime.now() - world.runtime.now()).total_seconds()

    assert [await wrong_by(after_s) for after_s in (0, 9, 1, 10)] == [3600, 3600, 3540, -60]
    assert runtime.mono() == world.runtime.mono()
    world.put()
    assert await wrong_by(1) == 0
    assert [event["action"] for event in world.told] == ["clock_skew"] * 2  # once each


async def test_a_clock_runs_too_fast_stands_still_and_runs_backwards() -> None:
    for rate, told_s in ((3, 30), (0, 0), (-1, -10)):
        world = World(a_clock("clock_rate", rate=rate))
        runtime = FaultyRuntime(world.runtime, "worker", world.injector)
        began = runtime.now()
        await world.runtime.advance(10)
        assert (runtime.now() - began).total_seconds() == told_s


async def test_a_clock_that_goes_wrong_by_chance_stays_wrong() -> None:
    world = World(a_clock("clock_skew", seconds=5, probability=0.2))
    runtime = FaultyRuntime(world.runtime, "worker", world.injector)
    wrong = [(runtime.now() - T0).total_seconds() for _ in range(50)]
    assert wrong == sorted(wrong)
    assert {*wrong} == {0, 5}


async def test_a_disk_fills_fails_tears_and_forgets(tmp_path: Path) -> None:
    world = World()
    files = FaultyFiles(DiskFiles(tmp_path, world.runtime), world.injector)
    await files.append("log", 0, b"0123456789")

    async def with_fault(verb: str, action: str, call: Any) -> Any:
        world.put({"at": f"jobstore.file.{verb}", "action": action, "times": 1})
        return await call

    with pytest.raises(OSError, match="No space left"):
        await with_fault("append", "disk_full", files.append("log", 10, b"more"))
    assert await files.read("log", 0, 100) == b"0123456789"
    with pytest.raises(OSError, match="error"):
        await with_fault("append", "truncate", files.append("log", 10, b"more"))
    assert await files.read("log", 0, 100) == b"0123456789mo"
    with pytest.raises(OSError, match="error"):
        await with_fault("sync", "fsync_error", files.sync("log"))
    with pytest.raises(OSError, match="error"):
        await with_fault("read", "eio_read", files.read("log", 0, 100))
    assert await with_fault("read", "truncate", files.read("log", 0, 100)) == b"012345"
    assert await with_fault("read", "corrupt", files.read("log", 0, 100)) != b"0123456789mo"
    assert await files.read("log", 0, 100) == b"0123456789mo"
    await with_fault("append", "corrupt", files.append("log", 0, b"good"))
    assert await files.read("log", 0, 100) != b"good"


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ({"at": "worker.nothing.before_send", "action": "error"}, "no point is called"),
        ({"at": "worker.refuse.before_send", "action": "fsync_error"}, "cannot be done at"),
        ({"at": "worker.*", "action": "explode"}, "Input should be"),
        ({"at": "worker.*", "action": "error", "after_s": 5, "until_s": 5}, "later than"),
        ({"at": "worker.*", "action": "error", "probability": 2}, "less than or equal to 1"),
        ({"at": "worker.*", "action": "error", "when": "now"}, "not permitted"),
        ({"at": "worker.*", "action": "delay", "seconds": -1}, "only a clock"),
    ],
)
def test_a_plan_that_means_nothing_is_refused(wrong: dict[str, Any], why: str) -> None:
    with pytest.raises(ValidationError, match=why):
        PointPlan.model_validate({"faults": [wrong]})


async def test_a_plan_that_keeps_a_fault_does_not_begin_it_anew() -> None:
    once = fault("drop_request", times=1)
    world = World(once)
    with pytest.raises(Unavailable):
        await world.refuse()

    world.put(once, fault("delay", "claim", seconds=0))
    await world.refuse()
    world.put()
    world.put(once)
    with pytest.raises(Unavailable):
        await world.refuse()


async def test_what_else_there_is_does_not_change_whom_a_fault_strikes() -> None:
    """The seed is enough, however calls of one process happen to follow each other."""

    async def struck(*others: dict[str, Any]) -> list[bool]:
        world = World(fault("drop_request", probability=0.5), *others, seed=3)
        found = []
        for _ in range(20):
            if others:
                await world.gateway.claim(CLAIM)
            before = len(world.inner.calls)
            with suppress(Unavailable):
                await world.refuse()
            found.append(len(world.inner.calls) == before)
        return found

    assert await struck() == await struck(fault("delay", "claim", probability=0.5, seconds=0))


def test_a_stream_is_offered_only_what_can_be_done_to_it() -> None:
    for verb in STREAMS:
        for point in matching(f"*.{verb}.received"):
            assert not {Action.DUPLICATE, Action.REORDER, Action.DROP_REPLY} & {*point.actions}


def test_every_action_can_be_done_somewhere_and_every_name_has_three_parts() -> None:
    assert {action for point in POINTS.values() for action in point.actions} == set(Action)
    assert all(name.count(".") == 2 for name in POINTS)
    assert len(matching("*.finish.*")) >= 8


async def test_bytes_at_a_point_are_spoiled_as_the_plan_says() -> None:
    reply = "worker.task.reply"
    world = World(
        {"at": reply, "action": "truncate", "times": 1},
        {"at": reply, "action": "corrupt", "times": 1},
    )

    assert await world.injector.spoiled(reply, b"0123456789", {}) == b"01234"
    assert await world.injector.spoiled(reply, b"0123456789", {}) != b"0123456789"
    assert await world.injector.spoiled(reply, b"0123456789", {}) == b"0123456789"


async def test_an_outbox_hears_of_a_full_disk_until_it_is_not_full_any_more(tmp_path: Path) -> None:
    world = World({"at": "worker.outbox.note", "action": "disk_full", "times": 1})
    outbox = DiskOutbox(
        tmp_path,
        world.runtime,
        most=10,
        disk=lambda verb: world.injector.disk(f"worker.outbox.{verb}"),
    )

    (claim,) = (await world.inner.claim(CLAIM)).claims
    with pytest.raises(CannotKeep, match="No space left"):
        outbox.begin(Record(claim=claim, worker_id=CLAIM.worker_id, since=0))
    assert "No space left" in (outbox.trouble or "")
    outbox.probe()
    assert outbox.trouble is None
    outbox.close()


async def test_a_fault_for_a_worker_is_for_its_name_or_its_id() -> None:
    runtime = ManualRuntime()
    injector = Injector(runtime, about={"name": "box-7"})
    at = "worker.spawn.after"
    injector.put(
        PointPlan.model_validate({"faults": [{"at": at, "action": "delay", "worker": "box-*"}]})
    )
    assert injector.strike(at, {}) is not None
    injector.put(
        PointPlan.model_validate({"faults": [{"at": at, "action": "delay", "worker": "w-1"}]})
    )
    assert injector.strike(at, {}) is None
    assert injector.strike(at, {"worker": "w-1"}) is not None


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
