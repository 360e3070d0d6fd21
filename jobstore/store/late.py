"""Heartbeats that are late are in the record of the run, before anything is lost."""

from collections.abc import Sequence
from typing import Final

from jobstore.store.claim import find_attempt
from jobstore.store.work import Work
from shared.protocol.states import AttemptStatus

LATE: Final = "attempt.late"
HEARD_AGAIN: Final = "attempt.heard_again"


def note_beats(work: Work, late: Sequence[str], heard: Sequence[str]) -> None:
    """The run's events tell it of each attempt that still runs."""
    for kind, attempt_ids in ((LATE, late), (HEARD_AGAIN, heard)):
        for attempt_id in attempt_ids:
            held = find_attempt(work, attempt_id)  # runs of live leases are never pruned
            if held.status is AttemptStatus.RUNNING:
                work.record(
                    kind,
                    held.run_id,
                    held.job_id,
                    attempt_id,
                    held.seq,
                    worker_id=held.worker_id,
                    fence=held.fence,
                )
