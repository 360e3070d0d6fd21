"""What must be true of every run, judged from the events and views that the job service gives."""

from collections import defaultdict
from collections.abc import Iterable

from shared.ids import RunId
from shared.protocol.jobs import Event, RunView
from shared.protocol.states import ENDED, AttemptStatus
from tests.support.cluster import Cluster

ENDS = frozenset(f"job.{status.value}" for status in ENDED)
OPENS = "job.claimed"
SLEEPS = frozenset({"job.retrying", "job.deferred", "job.rescheduled"})
CLOSES = frozenset({"job.refused", "job.lapsed", "job.requeued"}) | SLEEPS | ENDS


async def assert_sound(cluster: Cluster, run_ids: Iterable[RunId]) -> None:
    """Each run ended, each job once, no two attempts of a job held it at the same time, and at
    most one result of an attempt counts."""
    for run_id in run_ids:
        view = await cluster.jobs.show_run(run_id)
        events = await cluster.events(run_id)
        _assert_ended_once(view, events)
        _assert_one_holder_at_a_time(view, events)
        for job in view.jobs:
            attempts = await cluster.attempts(run_id, job.id)
            reported = [a for a in attempts if a.status is AttemptStatus.REPORTED]
            assert all(a.receipt_id for a in reported)
            assert not any(a.receipt_id for a in attempts if a not in reported)
            open_ones = {AttemptStatus.CLAIMED, AttemptStatus.RUNNING}
            assert not [a for a in attempts if a.status in open_ones]


def _assert_ended_once(view: RunView, events: list[Event]) -> None:
    assert view.status.is_ended, f"run {view.run_id} is {view.status}"
    ends = defaultdict(list)
    for event in events:
        if event.kind in ENDS:
            ends[event.job_id].append(event.kind)
        elif event.kind == "job.carried_over":
            ends[event.job_id].append("job.success")
    assert ends == {job.id: [f"job.{job.status.value}"] for job in view.jobs}
    assert [e.kind for e in events if e.kind == f"run.{view.status.value}"]
    assert events == sorted(events, key=lambda event: event.seq)


def _assert_one_holder_at_a_time(view: RunView, events: list[Event]) -> None:
    for job in view.jobs:
        holder, fence = None, 0
        for event in (e for e in events if e.job_id == job.id):
            if event.kind == OPENS:
                assert holder is None, f"{job.id} was given to two: {holder}, {event.attempt_id}"
                assert event.facts["fence"] > fence
                holder, fence = event.attempt_id, event.facts["fence"]
            elif event.kind in CLOSES:
                holder = None
        assert holder is None
