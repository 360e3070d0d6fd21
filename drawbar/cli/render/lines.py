"""Progress as plain lines, for pipes and files: `12:03:11  compile  started`."""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Final

from drawbar.cli.render.progress import Step
from drawbar.cli.render.waits import sleep_words, wait_words
from drawbar.cli.render.words import duration, one_line
from shared.protocol.pipeline import OnError
from shared.protocol.states import FAILURES, HeldFor, JobStatus

REASONS: Final[Mapping[str, str]] = {
    "spawn_error": "could not be started",
    "artifact_error": "its artifacts could not be collected",
    "input_error": "its inputs could not be placed",
    "lost": "its worker went silent or crashed",
    "poison": "it took its workers down",
    "queue_timeout": "no worker took it in time",
    "dependency": "a dependency did not succeed",
    "stage": "an earlier stage did not succeed",
    "drained": "its worker had to leave",
    "preempted": "its worker was stopped",
    "oom": "it needed more memory than its limit",
    "over_limit": "it went beyond a limit of its own",
    "signal": "ended by a signal",
    "precheck": "a check before it did not pass",
    "postcheck": "a check after it did not pass",
    "forbidden": "the security policy forbids it",
    "fail_fast": "the run stops after a failure",
    "operator": "left out",
    "resume": "it had not failed before",
    "refused": "approval was refused",
    "nothing_failed": "nothing failed",
    "trigger": "its trigger means nothing",
}


def sentence(step: Step) -> str | None:
    """What happened to the job, without its name; None for what nobody wants to read."""
    status, ran_s = step.job.status, step.ran_s
    took = "" if ran_s is None else f" in {duration(ran_s)}"
    why = f" ({reason})" if (reason := why_of(step)) else ""
    if status is JobStatus.RUNNING:
        return "started" if step.job.tries < 2 else f"started, try {step.job.tries}"
    if step.verb == "carried_over":
        return "success, carried over"
    if step.verb == "marked":
        by = one_line(str(step.event.facts.get("by") or "somebody"))
        return f"success, marked by {by}"
    if status is JobStatus.SUCCESS:
        return f"success{took}"
    if status in FAILURES:
        return f"{status}{took}{why}"
    if status is JobStatus.RETRYING:
        delay_s = step.event.facts.get("delay_s", 0.0)
        return f"failed{took}{why}, again in {duration(delay_s)}"
    if step.job.sleeps is not None:
        trigger, says = step.job.sleeps
        return sleep_words(step.event.run_id, step.job.id, trigger, one_line(says))
    if status is JobStatus.HELD and step.job.held_for != HeldFor.MAX_WORKERS:
        return wait_words(step.event.run_id, step.job.id, step.job.held_for) or None
    if status in (JobStatus.SKIPPED, JobStatus.CANCELLED):
        return f"{status}{why}"
    if step.verb in ("requeued", "refused", "lapsed"):
        return f"went back to the queue{why}"
    return None


def stopped_sentence(facts: Mapping[str, Any]) -> str:
    """What the first failure means for the rest of the run."""
    rest = "everything else is cancelled"
    if facts.get("on_error") != OnError.CANCEL:
        rest = "what runs goes on to its end, nothing else starts"
    return f"{one_line(str(facts.get('failed_job')))} failed: {rest}"


def why_of(step: Step) -> str:
    """Why it ended so, in a few words; empty when the status says it all."""
    facts = step.event.facts
    reason = str(facts.get("reason") or "")
    if reason == "exit_code" and facts.get("exit_code") is not None:
        return f"exit code {facts['exit_code']}"
    if reason in ("timeout", "cancelled"):
        return ""
    return REASONS.get(reason, one_line(reason))


def clock(at: datetime) -> str:
    """Local time of day."""
    return at.astimezone().strftime("%H:%M:%S")


class LineDisplay:
    """Writes a line for every step that a person wants to read."""

    keeps_tails = False
    moves = False

    def __init__(self, write: Callable[[str], None], width: int) -> None:
        self._write = write
        self._width = min(width, 40)

    def __enter__(self) -> "LineDisplay":
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def show(self, step: Step) -> None:
        said = sentence(step)
        if said is not None:
            name = one_line(step.job.id).ljust(self._width)
            self._write(f"{clock(step.event.at)}  {name}  {said}")

    def note(self, text: str) -> None:
        """A line that is about the run as a whole."""
        self._write(text)

    def tick(self) -> None:
        """Lines do not move."""

    def show_tail(self, step: Step, lines: list[str]) -> None:
        """Tails come at the end, where nothing pushes them out of sight."""
