"""What faults at points do to clocks, disks and outboxes."""

from pathlib import Path
from typing import Any

import pytest

from faults.clock import FaultyRuntime
from faults.files import FaultyFiles
from shared.files import DiskFiles
from tests.support.points import CLAIM, World
from tests.support.runtime import T0
from worker.outbox.disk import DiskOutbox
from worker.outbox.interface import CannotKeep
from worker.outbox.record import Record


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
