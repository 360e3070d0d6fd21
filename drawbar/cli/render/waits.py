"""What a job waits for and what it is about, in words. Pure."""

import shlex
from collections.abc import Mapping
from typing import Final

from shared.ids import RunId
from shared.protocol.states import HeldFor

_HELD: Final[Mapping[str, str]] = {
    HeldFor.MAX_WORKERS: "waits for a free place of its run",
    HeldFor.LOCK: "waits for its lock",
}
_PHASES: Final[Mapping[str, str]] = {
    "pre_checks": "pre-checks",
    "post_checks": "post-checks",
    "late": "late: its worker misses heartbeats",
}


def wait_words(run_id: RunId, job_id: str, held_for: str | None) -> str:
    """Why the job is held; where a person can help, with the command that does."""
    if held_for == HeldFor.APPROVAL:
        return f"waits for approval: {approve_line(run_id, job_id)}"
    return _HELD.get(held_for or "", "")


def sleep_words(run_id: RunId, job_id: str, trigger: str, says: str) -> str:
    """What a job waits for without a worker; where a person can help, with the command."""
    if trigger == "question":
        return f"waits {says} ({shlex.join(['drawbar', 'answer', str(run_id), job_id])} …)"
    return f"waits {says}"


def approve_line(run_id: RunId, job_id: str) -> str:
    """The command that lets the job go on."""
    return shlex.join(["drawbar", "approve", str(run_id), job_id])


def phase_words(phase: str | None) -> str:
    """What a running job is about, when it is not its command."""
    return _PHASES.get(phase or "", "")
