"""The registry's liveness, its memory across restarts, and what a broken disk does to it."""

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from registry.service import RegistryService
from registry.store import WorkerStore
from shared.errors import StoreFailed, StoreUnusable, TooLarge, UnknownWorker, WorkerSuperseded
from shared.protocol.registry import WorkerView
from shared.protocol.states import Desired, WorkerStatus
from shared.services import Registry
from tests.support.registries import SETTINGS, a_registry, a_report, a_wish, an_enrolment
from tests.support.runtime import T0, ManualRuntime

SILENT_S = SETTINGS.silent_after_s


async def the_worker(registry: Registry) -> WorkerView:
    (view,) = (await registry.list_workers()).workers
    return view


# -- liveness -----------------------------------------------------------------------------------


async def test_a_worker_that_falls_silent_is_offline(tmp_path: Path) -> None:
    runtime = ManualRuntime()
    async with a_registry(tmp_path, runtime) as registry:
        enrolled = await registry.enrol(an_enrolment())
        await registry.report(a_report(enrolled, WorkerStatus.WORKING, attempts=("a-1",)))

        await runtime.advance(SILENT_S)
        on_time = await the_worker(registry)
        await runtime.advance(0.1)
        late = await the_worker(registry)

    assert on_time.status is WorkerStatus.WORKING
    assert late.status is WorkerStatus.OFFLINE
    assert late.attempts == ("a-1",)  # what it ran when it was last heard of
    assert late.silent_s == pytest.approx(SILENT_S + 0.1)


async def test_a_silent_worker_returns_with_any_report(tmp_path: Path) -> None:
    runtime = ManualRuntime()
    async with a_registry(tmp_path, runtime) as registry:
        enrolled = await registry.enrol(an_enrolment())
        await runtime.advance(10 * SILENT_S)

        await registry.report(a_report(enrolled, WorkerStatus.PAUSED))
        view = await the_worker(registry)

    assert (view.status, view.silent_s) == (WorkerStatus.PAUSED, 0)


async def test_a_worker_that_enrolled_and_never_reported_falls_silent(tmp_path: Path) -> None:
    runtime = ManualRuntime()
    async with a_registry(tmp_path, runtime) as registry:
        await registry.enrol(an_enrolment())

        await runtime.advance(SILENT_S + 1)
        view = await the_worker(registry)

    assert view.status is WorkerStatus.OFFLINE


async def test_a_silent_worker_can_be_removed(tmp_path: Path) -> None:
    runtime = ManualRuntime()
    async with a_registry(tmp_path, runtime) as registry:
        enrolled = await registry.enrol(an_enrolment())
        await runtime.advance(SILENT_S + 1)

        await registry.remove("quick")

        with pytest.raises(UnknownWorker):
            await registry.report(a_report(enrolled))


@pytest.mark.parametrize("step_s", [-86_400.0, 86_400.0])
async def test_a_stepped_wall_clock_silences_nobody(tmp_path: Path, step_s: float) -> None:
    runtime = ManualRuntime()
    async with a_registry(tmp_path, runtime) as registry:
        await registry.enrol(an_enrolment())

        runtime.step_wall_clock(step_s)
        await runtime.advance(1)
        view = await the_worker(registry)

    assert view.status is WorkerStatus.READY
    assert view.silent_s == 1


async def test_a_report_writes_nothing(tmp_path: Path) -> None:
    async with a_registry(tmp_path, ManualRuntime()) as registry:
        enrolled = await registry.enrol(an_enrolment())
        before = (tmp_path / "registry.db-wal").stat()

        for status in (WorkerStatus.WORKING, WorkerStatus.READY, WorkerStatus.PAUSED):
            await registry.report(a_report(enrolled, status))

        after = (tmp_path / "registry.db-wal").stat()
    assert (after.st_size, after.st_mtime_ns) == (before.st_size, before.st_mtime_ns)


# -- restarts -----------------------------------------------------------------------------------


async def test_workers_and_wishes_survive_a_restart(tmp_path: Path) -> None:
    runtime = ManualRuntime()
    async with a_registry(tmp_path, runtime) as registry:
        enrolled = await registry.enrol(an_enrolment("quick", slots=7))
        await registry.wish("quick", a_wish(Desired.DRAIN, deadline_s=30))

    async with a_registry(tmp_path, runtime) as registry:
        view = await the_worker(registry)
        reply = await registry.report(a_report(enrolled))

    assert (view.worker_id, view.incarnation, view.slots) == (enrolled.worker_id, 1, 7)
    assert (view.labels, view.enrolled_at) == ({"os": "linux"}, T0)
    assert (reply.desired, reply.reason, reply.deadline_s) == (Desired.DRAIN, "maintenance", 30)


async def test_after_a_restart_every_worker_has_the_full_time_to_report(tmp_path: Path) -> None:
    runtime = ManualRuntime()
    async with a_registry(tmp_path, runtime) as registry:
        enrolled = await registry.enrol(an_enrolment())
        await runtime.advance(SILENT_S - 1)
    await runtime.advance(3_600)  # the registry is away

    async with a_registry(tmp_path, runtime) as registry:
        await runtime.advance(SILENT_S - 1)
        expected = await the_worker(registry)
        await registry.report(a_report(enrolled, WorkerStatus.WORKING))
        returned = await the_worker(registry)

    assert (expected.status, expected.free_slots) == (WorkerStatus.READY, 0)
    assert returned.status is WorkerStatus.WORKING


async def test_a_worker_that_does_not_return_after_a_restart_is_offline(tmp_path: Path) -> None:
    runtime = ManualRuntime()
    async with a_registry(tmp_path, runtime) as registry:
        await registry.enrol(an_enrolment())

    async with a_registry(tmp_path, runtime) as registry:
        await runtime.advance(SILENT_S + 0.1)
        view = await the_worker(registry)

    assert view.status is WorkerStatus.OFFLINE


async def test_a_goodbye_survives_a_restart(tmp_path: Path) -> None:
    runtime = ManualRuntime()
    async with a_registry(tmp_path, runtime) as registry:
        enrolled = await registry.enrol(an_enrolment())
        await registry.leave(enrolled.worker_id, enrolled.incarnation)

    async with a_registry(tmp_path, runtime) as registry:
        view = await the_worker(registry)
        with pytest.raises(UnknownWorker):
            await registry.report(a_report(enrolled))

    assert view.status is WorkerStatus.OFFLINE


async def test_a_superseded_incarnation_stays_so_after_a_restart(tmp_path: Path) -> None:
    runtime = ManualRuntime()
    async with a_registry(tmp_path, runtime) as registry:
        old = await registry.enrol(an_enrolment())
        await registry.enrol(an_enrolment())

    async with a_registry(tmp_path, runtime) as registry:
        with pytest.raises(WorkerSuperseded):
            await registry.report(a_report(old))


async def test_a_worker_newer_than_a_restored_database_has_to_enrol_again(tmp_path: Path) -> None:
    async with a_registry(tmp_path, ManualRuntime()) as registry:
        enrolled = await registry.enrol(an_enrolment())
        from_the_future = a_report(enrolled).model_copy(update={"incarnation": 2})

        with pytest.raises(UnknownWorker):
            await registry.report(from_the_future)


# -- commits ------------------------------------------------------------------------------------


async def test_a_wish_counts_even_when_the_operator_did_not_wait_for_it(tmp_path: Path) -> None:
    async with a_registry(tmp_path, ManualRuntime()) as registry:
        enrolled = await registry.enrol(an_enrolment())
        asking = asyncio.ensure_future(registry.wish("quick", a_wish(Desired.PAUSE)))
        await asyncio.sleep(0)  # it waits for its commit

        asking.cancel()
        await registry.enrol(an_enrolment("another"))  # a later commit
        reply = await registry.report(a_report(enrolled))

    assert reply.desired is Desired.PAUSE


async def test_enrolments_that_meet_each_get_an_incarnation_of_their_own(tmp_path: Path) -> None:
    async with a_registry(tmp_path, ManualRuntime()) as registry:
        replies = await asyncio.gather(*(registry.enrol(an_enrolment()) for _ in range(20)))

        newest = max(replies, key=lambda reply: reply.incarnation)
        acknowledged = await registry.report(a_report(newest))

    assert sorted(reply.incarnation for reply in replies) == list(range(1, 21))
    assert len({reply.worker_id for reply in replies}) == 1
    assert acknowledged.desired is Desired.RUN


async def test_a_broken_disk_is_a_failure_that_whoever_started_the_registry_sees(
    tmp_path: Path,
) -> None:
    async with a_registry(tmp_path, ManualRuntime()) as registry:
        with closing(sqlite3.connect(tmp_path / "registry.db")) as other:
            other.execute("DROP TABLE worker")

        with pytest.raises(StoreFailed):
            await registry.enrol(an_enrolment())
        with pytest.raises(StoreFailed):
            await registry.failure


async def test_a_newer_database_is_refused(tmp_path: Path) -> None:
    runtime = ManualRuntime()
    async with a_registry(tmp_path, runtime):
        pass
    with closing(sqlite3.connect(tmp_path / "registry.db")) as other:
        other.execute("PRAGMA user_version = 99")

    with pytest.raises(StoreUnusable, match="schema version 99"):
        await RegistryService(tmp_path / "registry.db", runtime).start()


async def test_the_store_takes_what_is_not_its_incarnation_as_no_change(tmp_path: Path) -> None:
    store = WorkerStore(tmp_path / "registry.db", ManualRuntime())
    await store.start()
    enrolment = await store.enrol(an_enrolment(), then=lambda _: None)
    calls: list[str] = []

    removed = await store.remove(enrolment.worker_id, 2, then=lambda: calls.append("removed"))
    await store.leave(enrolment.worker_id, 2, then=lambda: calls.append("left"))

    assert (removed, calls) == (False, [])
    assert await store.load() == [enrolment]
    await store.stop()


async def test_a_registry_that_knows_too_many_workers_takes_no_new_one_and_keeps_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("registry.store.MAX_WORKERS", 1)
    async with a_registry(tmp_path, ManualRuntime()) as registry:
        await registry.enrol(an_enrolment("ann"))

        with pytest.raises(TooLarge, match="remove some"):
            await registry.enrol(an_enrolment("ben"))
        again = await registry.enrol(an_enrolment("ann"))

    assert again.incarnation == 2
