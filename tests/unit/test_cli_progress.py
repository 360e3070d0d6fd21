"""What a run's events add up to, and the sentences that people read of them."""

import pytest

from drawbar.cli.render.lines import LineDisplay, sentence
from drawbar.cli.render.progress import Progress, Step
from shared.ids import JobId
from shared.protocol.states import JobStatus, RunStatus
from tests.support.events import an_event


def a_progress(*jobs: str) -> Progress:
    return Progress(JobId(job) for job in jobs)


def after(progress: Progress, *events: tuple[str, str, float, dict[str, object]]) -> Step:
    """The last step that these events made."""
    step = None
    for kind, job, after_s, facts in events:
        step = progress.apply(an_event(kind, job, after_s=after_s, **facts))
    assert step is not None
    return step


def test_every_job_is_counted_in_one_status_only() -> None:
    progress = a_progress("a", "b", "c")

    for event in (
        an_event("job.queued", "a"),
        an_event("job.claimed", "a"),
        an_event("job.running", "a", tries=1),
        an_event("job.queued", "b"),
        an_event("job.success", "a"),
    ):
        progress.apply(event)

    assert {s: n for s, n in progress.counts.items() if n} == {
        JobStatus.SUCCESS: 1,
        JobStatus.QUEUED: 1,
        JobStatus.PENDING: 1,
    }
    assert progress.ended == 1


def test_a_job_is_listed_as_running_only_while_it_runs() -> None:
    progress = a_progress("a")

    progress.apply(an_event("job.running", "a", tries=1))
    during = list(progress.running)
    progress.apply(an_event("job.requeued", "a", reason="lost"))

    assert during == ["a"]
    assert not progress.running


def test_the_run_has_the_status_of_its_last_event() -> None:
    progress = a_progress("a")

    progress.apply(an_event("run.submitted"))
    progress.apply(an_event("run.running"))
    progress.apply(an_event("run.cancel_requested"))
    before = progress.status
    progress.apply(an_event("run.cancelled"))

    assert before is RunStatus.RUNNING
    assert progress.status is RunStatus.CANCELLED


def test_events_of_a_newer_service_are_passed_over() -> None:
    progress = a_progress("a")

    steps = [
        progress.apply(an_event("job.levitated", "a")),
        progress.apply(an_event("job.success", "unheard-of")),
        progress.apply(an_event("stage.success", stage="build")),
    ]

    assert steps == [None, None, None]


@pytest.mark.parametrize(
    ("kind", "facts", "said"),
    [
        ("job.success", {"exit_code": 0}, "success in 1.2 s"),
        ("job.failed", {"reason": "exit_code", "exit_code": 3}, "failed in 1.2 s (exit code 3)"),
        ("job.failed", {"reason": "spawn_error"}, "failed in 1.2 s (could not be started)"),
        ("job.timeout", {"reason": "timeout"}, "timeout in 1.2 s"),
        ("job.cancelled", {"reason": "cancelled"}, "cancelled"),
        (
            "job.retrying",
            {"reason": "exit_code", "exit_code": 1, "delay_s": 5.0},
            "failed in 1.2 s (exit code 1), again in 5.0 s",
        ),
        (
            "job.requeued",
            {"reason": "lost"},
            "went back to the queue (its worker went silent or crashed)",
        ),
    ],
)
def test_the_end_of_a_try_is_said_with_its_duration_and_reason(
    kind: str, facts: dict[str, object], said: str
) -> None:
    step = after(a_progress("a"), ("job.running", "a", 0, {"tries": 1}), (kind, "a", 1.2, facts))

    assert sentence(step) == said


def test_a_second_try_is_announced_as_such() -> None:
    step = after(a_progress("a"), ("job.running", "a", 0, {"tries": 2}))

    assert sentence(step) == "started, try 2"


def test_a_job_that_never_ran_is_said_to_have_taken_no_time() -> None:
    step = after(a_progress("a"), ("job.skipped", "a", 9, {"reason": "dependency"}))

    assert sentence(step) == "skipped (a dependency did not succeed)"


def test_waiting_is_not_worth_a_line() -> None:
    lines: list[str] = []
    display = LineDisplay(lines.append, width=3)

    for kind in ("job.queued", "job.held", "job.claimed"):
        display.show(after(a_progress("a"), (kind, "a", 0, {})))

    assert lines == []


def test_a_job_cannot_play_with_the_terminal() -> None:
    lines: list[str] = []
    evil = "a\x9b31m"
    progress = a_progress(evil)
    step = after(progress, ("job.cancelled", evil, 0, {"reason": "x\x1b[2Jy"}))

    LineDisplay(lines.append, width=3).show(step)

    assert lines[0].endswith("a\\x9b31m  cancelled (x\\x1b[2Jy)")
