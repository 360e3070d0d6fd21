"""A lock held by two, a job that started in a stopped run, and one that moved beside its lease, are
found in the event log."""

from datetime import UTC, datetime

from faults.judging import event_log
from faults.judging.evidence import Evidence
from faults.judging.final_state import FinalState
from shared.ids import JobId, RunId
from shared.protocol.jobs import Event, RunView
from shared.protocol.pipeline import JobSpec, OnError, PipelineSpec, When
from shared.protocol.states import RunStatus
from simulation.checker import MADE

T0 = datetime(2026, 1, 1, tzinfo=UTC)


def a_pipeline(on_error: OnError = OnError.STOP) -> PipelineSpec:
    jobs = (
        JobSpec(id="a", argv=("sim",), lock="red"),
        JobSpec(id="soft", argv=("sim",), allow_failure=True),
        JobSpec(id="tidy", argv=("sim",), when=When.ALWAYS),
    )
    return PipelineSpec(name="p", on_error=on_error, jobs=jobs)


def a_story(*told: tuple[int, str, str | None]) -> FinalState:
    """Events in order: run, kind, job."""
    final = FinalState()
    for seq, (run, kind, job) in enumerate(told):
        final.runs[run] = RunView(
            run_id=RunId(run),
            name="p",
            status=RunStatus.FAILED,
            exit_code=1,
            created_at=T0,
            started_at=T0,
            ended_at=T0,
            counts={},
            retry_of=None,
            stages=(),
            jobs=(),
        )
        event = Event(
            seq=seq,
            at=T0,
            kind=kind,
            run_id=RunId(run),
            job_id=None if kind == "run.stopped" else JobId(job or ""),
            facts={"failed_job": job} if kind == "run.stopped" else {},
        )
        final.events.setdefault(run, []).append(event)
    return final


def evidence(final: FinalState, pipeline: PipelineSpec) -> Evidence:
    return Evidence([], final, {"p": pipeline}, MADE)


def test_a_lock_that_is_passed_on_is_fine() -> None:
    final = a_story(
        (1, "job.queued", "a"),
        (1, "job.claimed", "a"),
        (1, "job.retrying", "a"),
        (2, "job.queued", "a"),
        (2, "job.success", "a"),
        (1, "job.queued", "a"),
    )

    assert list(event_log.locks(evidence(final, a_pipeline()))) == []


def test_a_lock_held_by_two_runs_at_once_is_found() -> None:
    final = a_story((1, "job.queued", "a"), (2, "job.queued", "a"))

    assert list(event_log.locks(evidence(final, a_pipeline()))) == [
        "(2, 'a') has the lock 'red', which (1, 'a') holds"
    ]


def test_what_runs_in_spite_of_failures_may_start_in_a_stopped_run() -> None:
    final = a_story((1, "run.stopped", "a"), (1, "job.claimed", "tidy"))

    assert list(event_log.stops(evidence(final, a_pipeline()))) == []


def test_a_job_that_starts_in_a_stopped_run_is_found() -> None:
    final = a_story((1, "run.stopped", "a"), (1, "job.claimed", "soft"))

    assert list(event_log.stops(evidence(final, a_pipeline()))) == [
        "1/soft: job.claimed in a run that had stopped"
    ]


def test_a_stop_that_nobody_asked_for_is_found() -> None:
    allowed = a_story((1, "run.stopped", "soft"))
    unasked = a_story((1, "run.stopped", "a"))

    assert list(event_log.stops(evidence(allowed, a_pipeline())))
    assert list(event_log.stops(evidence(unasked, a_pipeline(OnError.CONTINUE))))


def test_a_job_that_moves_without_the_attempt_that_has_its_lease_is_found() -> None:
    final = a_story((1, "job.claimed", "a"), (1, "job.queued", "a"))
    (claimed, queued) = final.events[1]
    claimed = claimed.model_copy(update={"attempt_id": "x", "facts": {"fence": 1}})
    final.events[1] = [claimed, queued]

    assert list(event_log.walks(evidence(final, a_pipeline()))) == [
        "1/a, event 1 job.queued: the lease is with x"
    ]
