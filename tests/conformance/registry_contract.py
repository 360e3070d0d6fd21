"""What every carrier of the registry promises. Subclass once per carrier and supply `carrier`."""

from datetime import timedelta
from typing import Any

import pytest

from shared.errors import BadRequest, Conflict, UnknownWorker, WorkerSuperseded
from shared.protocol.registry import MAX_LABELS, Finding, WorkerView
from shared.protocol.states import Desired, WorkerStatus
from tests.support.registries import Carrier, a_change, a_report, a_wish, an_enrolment


class RegistryContract:
    async def test_a_worker_that_enrols_is_listed_with_what_it_said(self, carrier: Carrier) -> None:
        enrolled = await carrier.worker().enrol(an_enrolment("quick", slots=3, pid=99))

        (view,) = (await carrier.people.list_workers()).workers
        assert (view.worker_id, view.incarnation) == (enrolled.worker_id, 1)
        assert (view.name, view.slots, view.pid, view.host) == ("quick", 3, 99, "host-1")
        assert view.labels == {"os": "linux"}
        assert (view.status, view.desired) == (WorkerStatus.READY, Desired.RUN)

    async def test_a_name_keeps_its_id_and_counts_incarnations(self, carrier: Carrier) -> None:
        worker = carrier.worker()

        first = await worker.enrol(an_enrolment())
        second = await worker.enrol(an_enrolment())

        assert second.worker_id == first.worker_id
        assert (first.incarnation, second.incarnation) == (1, 2)

    async def test_a_report_is_acknowledged_and_seen(self, carrier: Carrier) -> None:
        worker = carrier.worker()
        enrolled = await worker.enrol(an_enrolment())

        reply = await worker.report(
            a_report(enrolled, WorkerStatus.WORKING, attempts=("a-1",), free_slots=1)
        )

        view = await seen(carrier, "quick")
        assert (view.status, view.attempts, view.free_slots) == (
            WorkerStatus.WORKING,
            ("a-1",),
            1,
        )
        assert (reply.desired, reply.next_report_s) == (Desired.RUN, 5.0)

    async def test_no_worker_can_report_that_it_is_offline(self, carrier: Carrier) -> None:
        worker = carrier.worker()
        enrolled = await worker.enrol(an_enrolment())

        with pytest.raises(BadRequest):
            await worker.report(a_report(enrolled, WorkerStatus.OFFLINE))

    async def test_an_earlier_incarnation_is_told_that_it_was_superseded(
        self, carrier: Carrier
    ) -> None:
        old, new = carrier.worker(), carrier.worker()
        first = await old.enrol(an_enrolment())
        second = await new.enrol(an_enrolment())

        with pytest.raises(WorkerSuperseded) as raised:
            await old.report(a_report(first))

        assert raised.value.facts["newest"] == 2
        assert (await new.report(a_report(second))).desired is Desired.RUN

    async def test_the_goodbye_of_an_earlier_incarnation_says_nothing_of_the_newer(
        self, carrier: Carrier
    ) -> None:
        worker = carrier.worker()
        first = await worker.enrol(an_enrolment())
        await worker.enrol(an_enrolment())

        await worker.leave(first.worker_id, first.incarnation)

        assert (await seen(carrier, "quick")).status is WorkerStatus.READY

    async def test_a_worker_that_left_is_offline_however_often_it_says_so(
        self, carrier: Carrier
    ) -> None:
        worker = carrier.worker()
        enrolled = await worker.enrol(an_enrolment())
        await worker.report(a_report(enrolled, WorkerStatus.WORKING, attempts=("a-1",)))

        await worker.leave(enrolled.worker_id, enrolled.incarnation)
        await worker.leave(enrolled.worker_id, enrolled.incarnation)

        view = await seen(carrier, "quick")
        assert (view.status, view.attempts, view.free_slots) == (WorkerStatus.OFFLINE, (), 0)

    async def test_a_worker_that_left_has_to_enrol_before_it_reports(
        self, carrier: Carrier
    ) -> None:
        worker = carrier.worker()
        enrolled = await worker.enrol(an_enrolment())
        await worker.leave(enrolled.worker_id, enrolled.incarnation)

        with pytest.raises(UnknownWorker):
            await worker.report(a_report(enrolled))

    async def test_a_wish_reaches_the_worker_with_its_next_report(self, carrier: Carrier) -> None:
        worker = carrier.worker()
        enrolled = await worker.enrol(an_enrolment())

        view = await carrier.people.wish("quick", a_wish(Desired.DRAIN, deadline_s=30))

        reply = await worker.report(a_report(enrolled))
        assert (view.desired, view.reason) == (Desired.DRAIN, "maintenance")
        assert (reply.desired, reply.reason, reply.deadline_s) == (
            Desired.DRAIN,
            "maintenance",
            30,
        )

    @pytest.mark.parametrize("desired", [Desired.PAUSE, Desired.STOP, Desired.RUN])
    async def test_every_wish_but_a_drain_goes_without_a_deadline(
        self, carrier: Carrier, desired: Desired
    ) -> None:
        await carrier.worker().enrol(an_enrolment())

        with pytest.raises(BadRequest):
            await carrier.people.wish("quick", a_wish(desired, deadline_s=30))
        view = await carrier.people.wish("quick", a_wish(desired))

        assert view.desired is desired

    async def test_a_pause_outlives_the_process_that_it_was_meant_for(
        self, carrier: Carrier
    ) -> None:
        worker = carrier.worker()
        await worker.enrol(an_enrolment())
        await carrier.people.wish("quick", a_wish(Desired.PAUSE))

        again = await worker.enrol(an_enrolment())

        reply = await worker.report(a_report(again, WorkerStatus.PAUSED))
        assert (reply.desired, reply.reason) == (Desired.PAUSE, "maintenance")

    @pytest.mark.parametrize("desired", [Desired.DRAIN, Desired.STOP])
    async def test_a_worker_that_was_taken_away_starts_afresh(
        self, carrier: Carrier, desired: Desired
    ) -> None:
        worker = carrier.worker()
        await worker.enrol(an_enrolment())
        await carrier.people.wish("quick", a_wish(desired))

        again = await worker.enrol(an_enrolment())

        reply = await worker.report(a_report(again))
        assert (reply.desired, reply.reason, reply.deadline_s) == (Desired.RUN, None, None)

    async def test_nobody_can_wish_anything_of_a_stranger(self, carrier: Carrier) -> None:
        with pytest.raises(UnknownWorker) as raised:
            await carrier.people.wish("nobody", a_wish(Desired.PAUSE))

        assert raised.value.facts["name"] == "nobody"

    async def test_only_a_worker_that_is_offline_can_be_removed(self, carrier: Carrier) -> None:
        worker = carrier.worker()
        enrolled = await worker.enrol(an_enrolment())

        with pytest.raises(Conflict):
            await carrier.people.remove("quick")
        await worker.leave(enrolled.worker_id, enrolled.incarnation)
        await carrier.people.remove("quick")

        assert (await carrier.people.list_workers()).workers == ()
        with pytest.raises(UnknownWorker):
            await worker.report(a_report(enrolled))
        with pytest.raises(UnknownWorker):
            await carrier.people.remove("quick")

    async def test_a_removed_name_comes_back_as_somebody_else(self, carrier: Carrier) -> None:
        worker = carrier.worker()
        first = await worker.enrol(an_enrolment())
        await worker.leave(first.worker_id, first.incarnation)
        await carrier.people.remove("quick")

        second = await worker.enrol(an_enrolment())

        assert second.worker_id != first.worker_id
        assert second.incarnation == 1

    @pytest.mark.parametrize("name", ["a worker", "ünïcode", "50%", "..", "a?b#c", "w:1@h"])
    async def test_a_worker_is_found_by_any_name_that_it_may_have(
        self, carrier: Carrier, name: str
    ) -> None:
        await carrier.worker().enrol(an_enrolment(name))

        view = await carrier.people.wish(name, a_wish(Desired.PAUSE))

        assert (view.name, view.desired) == (name, Desired.PAUSE)

    async def test_slots_and_labels_reach_the_worker_with_its_next_report(
        self, carrier: Carrier
    ) -> None:
        worker = carrier.worker()
        enrolled = await worker.enrol(an_enrolment(slots=2))

        view = await carrier.people.set_worker("quick", a_change(slots=5, gpu="1", os=None))

        reply = await worker.report(a_report(enrolled))
        assert (view.slots, view.labels, view.is_set) == (5, {"gpu": "1"}, True)
        assert (reply.slots, reply.labels) == (5, {"gpu": "1"})

    async def test_what_was_set_stays_when_the_worker_enrols_again(self, carrier: Carrier) -> None:
        worker = carrier.worker()
        await worker.enrol(an_enrolment(slots=2))
        await carrier.people.set_worker("quick", a_change(slots=5, gpu="1"))

        again = await worker.enrol(an_enrolment(slots=3))

        assert (again.slots, again.labels) == (5, {"os": "linux", "gpu": "1"})

    async def test_a_reset_leaves_what_the_worker_was_started_with(self, carrier: Carrier) -> None:
        await carrier.worker().enrol(an_enrolment(slots=2))
        await carrier.people.set_worker("quick", a_change(slots=5, gpu="1", os=None))

        view = await carrier.people.set_worker("quick", a_change(is_reset=True))

        assert (view.slots, view.labels, view.is_set) == (2, {"os": "linux"}, False)

    async def test_a_change_that_makes_no_sense_changes_nothing(self, carrier: Carrier) -> None:
        await carrier.worker().enrol(an_enrolment(slots=2))

        with pytest.raises(BadRequest, match="nothing to set"):
            await carrier.people.set_worker("quick", a_change())
        with pytest.raises(BadRequest, match=r"no label 'oss' \(did you mean 'os'\?\)"):
            await carrier.people.set_worker("quick", a_change(slots=9, oss=None))
        many: dict[str, Any] = {f"l{n}": "x" for n in range(MAX_LABELS)}
        with pytest.raises(BadRequest, match="more than 100 labels"):
            await carrier.people.set_worker("quick", a_change(slots=9, **many))

        assert (await seen(carrier, "quick")).is_set is False

    async def test_a_stranger_is_answered_with_the_nearest_name(self, carrier: Carrier) -> None:
        await carrier.worker().enrol(an_enrolment("box-17"))

        for ask in (
            carrier.people.wish("box-71", a_wish(Desired.PAUSE)),
            carrier.people.set_worker("box-71", a_change(slots=2)),
            carrier.people.show_worker("box-71"),
            carrier.people.remove("box-71"),
        ):
            with pytest.raises(UnknownWorker, match=r"did you mean 'box-17'\?"):
                await ask

    async def test_who_did_what_when_and_why_is_kept(self, carrier: Carrier) -> None:
        await carrier.worker().enrol(an_enrolment())

        await carrier.people.wish("quick", a_wish(Desired.PAUSE, for_s=60))
        await carrier.people.set_worker("quick", a_change(slots=5, os=None))

        details = await carrier.people.show_worker("quick")
        assert [(t.by, t.what, t.reason, t.for_s) for t in details.told] == [
            ("ann", "slots=5 -os", "a new card", None),
            ("ann", "pause", "maintenance", 60),
        ]
        assert (details.worker.by, details.worker.since) == ("ann", details.told[1].at)
        assert details.worker.until == details.told[1].at + timedelta(seconds=60)

    async def test_only_a_pause_ends_by_itself_and_only_a_stop_is_without_grace(
        self, carrier: Carrier
    ) -> None:
        worker = carrier.worker()
        enrolled = await worker.enrol(an_enrolment())

        with pytest.raises(BadRequest):
            await carrier.people.wish("quick", a_wish(Desired.DRAIN, for_s=60))
        with pytest.raises(BadRequest):
            await carrier.people.wish("quick", a_wish(Desired.PAUSE, is_now=True))
        await carrier.people.wish("quick", a_wish(Desired.STOP, is_now=True))

        reply = await worker.report(a_report(enrolled))
        assert (reply.desired, reply.is_now) == (Desired.STOP, True)

    async def test_what_a_worker_found_when_it_looked_after_itself_is_shown(
        self, carrier: Carrier
    ) -> None:
        worker = carrier.worker()
        enrolled = await worker.enrol(an_enrolment())
        found = Finding(name="disk", is_good=False, says="12 MiB free, needs 256 MiB")

        report = a_report(enrolled, WorkerStatus.PAUSED)
        await worker.report(report.model_copy(update={"health": (found,)}))

        assert (await seen(carrier, "quick")).health == (found,)

    async def test_a_name_can_be_checked_without_taking_it(self, carrier: Carrier) -> None:
        worker = carrier.worker()
        before = await worker.check_name("quick")
        await worker.enrol(an_enrolment())

        after = await worker.check_name("quick")

        assert (before.status, after.status) == (None, WorkerStatus.READY)
        assert (await seen(carrier, "quick")).incarnation == 1

    async def test_workers_are_listed_by_name(self, carrier: Carrier) -> None:
        for name in ("c", "a", "b"):
            await carrier.worker().enrol(an_enrolment(name))

        listed = (await carrier.people.list_workers()).workers

        assert [view.name for view in listed] == ["a", "b", "c"]


async def seen(carrier: Carrier, name: str) -> WorkerView:
    """The worker as people see it at this moment."""
    for view in (await carrier.people.list_workers()).workers:
        if view.name == name:
            return view
    raise AssertionError(f"{name} is not listed")
