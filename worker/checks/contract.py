"""What a check is: a function that looks at something and says whether a job may start, or is done.

    def check_queue_is_empty(params, context):
        left = len(os.listdir(params["folder"]))
        return Passed() if left == 0 else Failed(f"{left} files are left")

It may be async. It runs in a process of its own with the job's environment, in the job's working
directory, and is killed when its time is over. Own checks import this from `drawbar.checks`.
"""

import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, NamedTuple


class Passed:
    """As it should be. The note goes into the job's log."""

    def __init__(self, note: str = "") -> None:
        self.note = note

    def __repr__(self) -> str:
        return f"Passed({self.note!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Passed) and other.note == self.note

    def __hash__(self) -> int:
        return hash((Passed, self.note))


class Failed:
    """Not as it should be: `why` goes into the job's log and its failure reason."""

    def __init__(self, why: str) -> None:
        self.why = why

    def __repr__(self) -> str:
        return f"Failed({self.why!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Failed) and other.why == self.why

    def __hash__(self) -> int:
        return hash((Failed, self.why))


class Context(NamedTuple):
    """Where a check runs, and for whom."""

    run_id: int
    job_id: str
    attempt_id: str
    phase: str  # pre_checks | post_checks
    cwd: str  # the job's working directory, which is also the check's own
    env: Mapping[str, str]  # the job's
    log: str  # the file that holds what the attempt has written so far
    deadline: float  # on the clock of `mono`
    now: Callable[[], float] = time.time  # seconds since 1970
    mono: Callable[[], float] = time.monotonic

    @property
    def left_s(self) -> float:
        """Seconds until the check is killed."""
        return max(0.0, self.deadline - self.mono())


# A bool will do for a result, too.
Result = Passed | Failed | bool
Check = Callable[[Mapping[str, Any], Context], Result | Awaitable[Result]]
