"""A story of one job in which nothing goes wrong that may not: to be spoiled by tests."""

from datetime import UTC, datetime
from typing import Any

from faults.judging.entry import EVENT, FAILED, INVOKED, OK, Entry
from faults.judging.final_state import FinalState
from shared.ids import AttemptId, JobId, RunId
from shared.protocol.jobs import AttemptView, Event, JobView, RunView
from shared.protocol.pipeline import CheckSpec, JobSpec, PipelineSpec, RetryRule
from shared.protocol.states import AttemptStatus, JobStatus, RunStatus
from simulation.checker import check
from simulation.runner import artifact_of, line_of

T0 = datetime(2026, 1, 1, tzinfo=UTC)
KEY = (1, "job")
PIPELINE = PipelineSpec(
    name="p",
    max_workers=1,
    jobs=(JobSpec(id="job", argv=("sim",), timeout_s=0.25, artifacts=("*.txt",)),),
)


class Story:
    """One job: refused by worker-1, lost on worker-0, run again by worker-1, which finishes."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self.rest_s = 0.0
        self.stop_s = 60.0
        self.post_checks: tuple[CheckSpec, ...] = ()
        self._claim("worker-1.1", "refused", 1)
        self.call("worker-1.1", "refuse", attempt="refused")
        self._claim("worker-0.1", "lost", 2)
        self._announce("worker-0.1", "lost")
        self.call("worker-0.1", "run", {"tries": 1}, attempt="lost")
        self.event("worker-0.1", "spawn", attempt="lost", inputs=[])
        self.event("worker-0.1", "exit", attempt="lost", signal=9, exit_code=None, lost_power=True)
        self._claim("worker-1.1", "won", 3)
        self._announce("worker-1.1", "won")
        self.call("worker-1.1", "run", {"tries": 2}, attempt="won")
        self.event("worker-1.1", "spawn", attempt="won", inputs=[])
        self.call("worker-1.1", "heartbeat", {"renewed": ["won"]})
        self.event("worker-1.1", "exit", attempt="won", exit_code=0, signal=None, log_bytes=240)
        self.finish("worker-1.1", "won", 3, "r1")
        self.final = FinalState(
            runs={1: a_run()},
            attempts={
                KEY: (
                    an_attempt("refused", 1, AttemptStatus.REFUSED, started=False),
                    an_attempt("lost", 2, AttemptStatus.LOST),
                    an_attempt("won", 3, AttemptStatus.REPORTED, exit_code=0, receipt_id="r1"),
                )
            },
            events={1: some_events()},
            logs={"won": line_of("won", 0) + line_of("won", 1)},
            artifacts={KEY: {"out.txt": artifact_of("won")}},
        )

    def verdict(self) -> list[str]:
        jobs = (PIPELINE.jobs[0].model_copy(update={"post_checks": self.post_checks}),)
        pipeline = PIPELINE.model_copy(update={"jobs": jobs, "retry": RetryRule(max=0)})
        return check(self.entries, self.final, [pipeline], self.rest_s, self.stop_s)

    # -- telling it -----------------------------------------------------------------------------

    def event(self, who: str, op: str, **facts: Any) -> None:
        self._add(who, op, EVENT, len(self.entries), facts)

    def call(self, who: str, op: str, told: dict[str, Any] | None = None, **facts: Any) -> None:
        invoked = len(self.entries)
        self._add(who, op, INVOKED, invoked, facts)
        self._add(who, op, OK, invoked, facts | (told or {}))

    def fail(self, who: str, op: str, error: str) -> None:
        facts = {"attempt": "won", "error": error, "message": "it broke"}
        self._add(who, op, FAILED, len(self.entries), facts)

    def finish(self, who: str, attempt: str, fence: int, receipt: str, exit_code: int = 0) -> None:
        self.call(
            who,
            "finish",
            {"receipt": receipt, "job_status": "success"},
            attempt=attempt,
            fence=fence,
            outcome="exited",
            exit_code=exit_code,
            artifacts=["out.txt"],
        )

    def drop(self, op: str, who: str) -> None:
        """It never happened. Numbers stay, as gaps."""
        self.entries = [e for e in self.entries if (e.op, e.who) != (op, who)]

    def submit(self, name: str, run: int) -> None:
        self.call("submitter.1", "submit", name=name)
        self.event("submitter.1", "submitted", name=name, run=run)

    def attempt(self, n: int, **changes: Any) -> None:
        attempts = list(self.final.attempts[KEY])
        attempts[n] = attempts[n].model_copy(update=changes)
        self.final.attempts[KEY] = tuple(attempts)

    def job(self, **changes: Any) -> None:
        (job,) = self.final.runs[1].jobs
        self.run(jobs=(job.model_copy(update=changes),))

    def run(self, **changes: Any) -> None:
        self.final.runs[1] = self.final.runs[1].model_copy(update=changes)

    def happened(self, place: int, kind: str, attempt: str | None, **facts: Any) -> None:
        """An event of the job stands at `place` in the job service's log."""
        self.final.events[1].insert(place, an_event(kind, attempt, **facts))

    def _claim(self, who: str, attempt: str, fence: int) -> None:
        self.call(who, "poll")
        self.event(who, "claim", run=1, job="job", attempt=attempt, fence=fence)

    def _announce(self, who: str, attempt: str) -> None:
        self.call(who, "report", status="Working", attempts=[attempt])

    def _add(self, who: str, op: str, phase: str, call: int, facts: dict[str, Any]) -> None:
        n = len(self.entries)
        self.entries.append(Entry(n, float(n), who, op, phase, call, facts))


def a_run() -> RunView:
    job = JobView(
        id=JobId("job"),
        stage=None,
        status=JobStatus.SUCCESS,
        exit_code=0,
        reason=None,
        tries=2,
        attempts=2,
        refusals=1,
        needs=(),
        allow_failure=False,
        started_at=T0,
        ended_at=T0,
    )
    return RunView(
        run_id=RunId(1),
        name="p",
        status=RunStatus.SUCCESS,
        exit_code=0,
        created_at=T0,
        started_at=T0,
        ended_at=T0,
        counts={"success": 1},
        retry_of=None,
        stages=(),
        jobs=(job,),
    )


def an_attempt(
    attempt_id: str,
    fence: int,
    status: AttemptStatus,
    *,
    started: bool = True,
    exit_code: int | None = None,
    receipt_id: str | None = None,
) -> AttemptView:
    return AttemptView(
        attempt_id=AttemptId(attempt_id),
        fence=fence,
        worker_id="w",
        status=status,
        claimed_at=T0,
        started_at=T0 if started else None,
        ended_at=T0,
        exit_code=exit_code,
        signal=None,
        reason=None,
        receipt_id=receipt_id,
        log_size_bytes=0,
        log_lost_bytes=0,
        usage=None,
        evidence=None,
    )


def an_event(kind: str, attempt: str | None, **facts: Any) -> Event:
    return Event(
        seq=1,
        at=T0,
        kind=kind,
        run_id=RunId(1),
        job_id=JobId("job"),
        attempt_id=None if attempt is None else AttemptId(attempt),
        facts=facts,
    )


def some_events() -> list[Event]:
    return [
        an_event("job.queued", None),
        an_event("job.claimed", "refused", fence=1),
        an_event("job.refused", "refused"),
        an_event("job.claimed", "lost", fence=2),
        an_event("job.running", "lost"),
        an_event("attempt.lost", "lost"),
        an_event("job.requeued", "lost"),
        an_event("job.claimed", "won", fence=3),
        an_event("job.running", "won"),
        an_event("job.success", "won"),
    ]


def told_story() -> Story:
    story = Story()
    story.submit("p", 1)
    return story
