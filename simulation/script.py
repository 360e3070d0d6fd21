"""What a simulated job does: its argv is `sim SECONDS FAILURE_CHANCE LINES`, and more for a task.

Whatever else is started are the checks of an attempt, of which some do not pass.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

LINE_BYTES: Final = 120
WAITS: Final = ("delta", "time", "callback", "question", "job", "reschedule")  # of a task, for what
IGNORES_TERM: Final = 0.2  # of the processes
FLAWED: Final = 0.3  # of the checks
CHECK_S: Final = (0.05, 1.0)


def line_of(attempt_id: str, n: int) -> bytes:
    """The n-th line that an attempt's process writes; no two attempts write the same."""
    return f"{attempt_id} line {n} ".encode().ljust(LINE_BYTES - 1, b".") + b"\n"


def artifact_of(attempt_id: str) -> bytes:
    """What a process leaves in `out.txt` when it succeeds."""
    return f"made by {attempt_id}\n".encode() * 200


@dataclass(frozen=True, slots=True)
class Script:
    """One process's life, unless it is stopped."""

    seconds: float
    lines: int
    exit_code: int
    ignores_term: bool
    term_s: float  # from SIGTERM to its end
    is_check: bool = False

    @classmethod
    def of(cls, argv: Sequence[str], chance: random.Random) -> "Script":
        if argv[0] != "sim":
            return cls(
                seconds=chance.uniform(*CHECK_S),
                lines=0,
                exit_code=1 if chance.random() < FLAWED else 0,
                ignores_term=False,
                term_s=0.01,
                is_check=True,
            )
        _, seconds, failure_chance, lines, *_ = argv
        return cls(
            seconds=float(seconds),
            lines=int(lines),
            exit_code=1 if chance.random() < float(failure_chance) else 0,
            ignores_term=chance.random() < IGNORES_TERM,
            term_s=chance.uniform(0.01, 1.0),
        )
