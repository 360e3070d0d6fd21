"""Pauses that end by themselves, and workers that are late before they are taken for offline."""

from pathlib import Path

from registry.told import KEPT
from shared.protocol.states import Desired, WorkerStatus
from tests.support.registries import SETTINGS, a_registry, a_report, a_wish, an_enrolment
from tests.support.runtime import ManualRuntime


async def test_a_pause_ends_when_its_time_is_over(tmp_path: Path) -> None:
    runtime = ManualRuntime()
    async with a_registry(tmp_path, runtime) as registry:
        enrolled = await registry.enrol(an_enrolment())
        await registry.wish("quick", a_wish(Desired.PAUSE, for_s=60))

        await runtime.advance(59)
        during = await registry.report(a_report(enrolled, WorkerStatus.PAUSED))
        await runtime.advance(2)
        details = await registry.show_worker("quick")
        after = await registry.report(a_report(enrolled, WorkerStatus.PAUSED))

    assert (during.desired, after.desired) == (Desired.PAUSE, Desired.RUN)
    assert [(told.by, told.what) for told in details.told] == [
        ("registry", "run"),
        ("ann", "pause"),
    ]
    assert details.told[0].reason == "the pause of 60 s is over"
    assert details.worker.until is None


async def test_a_pause_goes_on_after_a_restart_for_what_is_left_of_it(tmp_path: Path) -> None:
    runtime = ManualRuntime()
    async with a_registry(tmp_path, runtime) as registry:
        await registry.enrol(an_enrolment())
        await registry.wish("quick", a_wish(Desired.PAUSE, for_s=60))
        await runtime.advance(40)

    async with a_registry(tmp_path, runtime) as registry:
        await runtime.advance(19)
        during = (await registry.show_worker("quick")).worker.desired
        await runtime.advance(2)
        after = (await registry.show_worker("quick")).worker.desired

    assert (during, after) == (Desired.PAUSE, Desired.RUN)


async def test_what_is_wished_during_a_pause_is_not_undone_by_its_end(tmp_path: Path) -> None:
    runtime = ManualRuntime()
    async with a_registry(tmp_path, runtime) as registry:
        await registry.enrol(an_enrolment())
        await registry.wish("quick", a_wish(Desired.PAUSE, for_s=60))
        await runtime.advance(30)
        await registry.wish("quick", a_wish(Desired.PAUSE))

        await runtime.advance(3_600)

        assert (await registry.show_worker("quick")).worker.desired is Desired.PAUSE


async def test_a_worker_that_missed_two_reports_is_late_before_it_is_offline(
    tmp_path: Path,
) -> None:
    runtime = ManualRuntime()
    seen = []
    async with a_registry(tmp_path, runtime) as registry:
        await registry.enrol(an_enrolment())
        for step_s in (2 * SETTINGS.report_s, SETTINGS.report_s, SETTINGS.silent_after_s):
            await runtime.advance(step_s)
            (view,) = (await registry.list_workers()).workers
            seen.append((view.status, view.is_late))

    assert seen == [
        (WorkerStatus.READY, False),
        (WorkerStatus.READY, True),
        (WorkerStatus.OFFLINE, False),
    ]


async def test_of_what_was_done_to_a_worker_the_latest_is_kept(tmp_path: Path) -> None:
    async with a_registry(tmp_path, ManualRuntime()) as registry:
        await registry.enrol(an_enrolment())
        for n in range(KEPT + 5):
            wish = a_wish(Desired.PAUSE)
            await registry.wish("quick", wish.model_copy(update={"reason": f"number {n}"}))

        told = (await registry.show_worker("quick")).told

    assert (len(told), told[0].reason) == (KEPT, f"number {KEPT + 4}")
