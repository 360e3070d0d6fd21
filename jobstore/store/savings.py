"""Which worker saves its free slots for which job: so that small jobs do not keep big ones waiting.

Small jobs fit into every slot that comes free. If they always had it, a job that wants four at
once would never see four. So the first worker that comes by a job into which it does not fit, but
could, takes nothing behind it until it fits. Others go on with what is behind: one worker at a
time leaves slots free for one job.
"""

from typing import Final

KEPT_S: Final = 30.0  # longer than a poll may wait: a worker that asks no more saves for nobody


class Savings:
    """At most one worker for each job, and one job for each worker."""

    def __init__(self) -> None:
        self._job_of: dict[str, int] = {}
        self._saver_of: dict[int, tuple[str, float]] = {}  # until, on the monotonic clock

    def save(self, worker_id: str, seq: int, now: float) -> bool:
        """Whether this worker saves for the job; False: another one does."""
        saver, until = self._saver_of.get(seq, (worker_id, now))
        if saver != worker_id and now < until:
            return False
        self.end(seq)
        before = self._job_of.get(worker_id)
        if before is not None:
            self.end(before)
        self._job_of[worker_id] = seq
        self._saver_of[seq] = (worker_id, now + KEPT_S)
        return True

    def end(self, seq: int) -> None:
        """Nobody saves for the job any more."""
        saver = self._saver_of.pop(seq, None)
        if saver is not None:
            del self._job_of[saver[0]]
