"""Judges a universe by its history and by what the job service says in the end.

What happened in between is taken from callers, never from the code under test. The checks are
those of `faults/judging`: real processes are judged by the same.
"""

from collections.abc import Sequence
from typing import Final

from faults.judging.entry import Entry
from faults.judging.evidence import Evidence, Made
from faults.judging.final_state import FinalState
from faults.judging.verdict import judge
from shared.protocol.pipeline import PipelineSpec
from simulation.runner import artifact_of, line_of


def check(
    entries: Sequence[Entry],
    final: FinalState,
    pipelines: Sequence[PipelineSpec],
    rest_s: float | None = None,
    stop_s: float | None = None,
) -> list[str]:
    """Every broken promise, as a line. Empty: none was caught breaking."""
    evidence = Evidence(entries, final, {p.name: p for p in pipelines}, MADE, rest_s, stop_s)
    return [str(breach) for breach in judge(evidence)]


def _log_of(attempt_id: str, size: int) -> bytes:
    """Whole lines, as many as `size` bytes need."""
    length = len(line_of(attempt_id, 0))
    return b"".join(line_of(attempt_id, n) for n in range(-(-size // length)))


MADE: Final = Made(log=_log_of, artifact=artifact_of)
