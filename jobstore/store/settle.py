"""What the end of a job means for its dependents, its stage and its run.

The cost is that of the job's own dependents: counters stand for everything else, so it does not
grow with the run.
"""

from collections import deque
from collections.abc import Iterable

from jobstore.states import RunEvent
from jobstore.store.admit import Ready, admit, give_up_place
from jobstore.store.row import Ended, JobRow
from jobstore.store.stages import count_in_stage
from jobstore.store.stop import has_place, stop_run
from jobstore.store.unblock import Unblocked, resolve
from jobstore.store.unfold import unfold
from jobstore.store.work import Work
from shared.protocol.pipeline import OnError
from shared.protocol.states import RunStatus


def settle(work: Work, run_id: int, jobs: Iterable[Ended]) -> None:
    """Dependents are queued or skipped, stages opened or closed, the run stopped or ended."""
    _Settling(work, run_id, deque(jobs)).settle()


def enter(work: Work, run_id: int, jobs: Iterable[Ready]) -> None:
    """Jobs that wait for no other any more are queued or held; mapped ones become many first."""
    settling = _Settling(work, run_id, deque())
    settling.take(Unblocked(list(jobs), [], 0))
    settling.settle()


class _Settling:
    """One end leads to others: they are worked off one by one."""

    def __init__(self, work: Work, run_id: int, ended: deque[Ended]) -> None:
        self._work = work
        self._run_id = run_id
        self._ended = ended
        self._ready: dict[int, Ready] = {}
        self._left: list[JobRow] = []  # ended where they had, or waited for, a place

    def settle(self) -> None:
        while self._ended:
            job = self._ended.popleft()
            if job.counts:
                self._stop(job)
            self.take(
                resolve(
                    self._work,
                    self._run_id,
                    "seq IN (SELECT downstream FROM edge WHERE upstream = ?)",
                    (job.seq,),
                    lets_go=job.lets_go,
                    has_failed=job.has_failed,
                    what="dependency",
                )
            )
            self.take(count_in_stage(self._work, self._run_id, job))
            self._count_in_run(job)
        if self._ready:
            admit(self._work, self._run_id, self._ready.values())
        for left in self._left:
            give_up_place(self._work, left, was_admitted=has_place(left.status))

    def take(self, found: Unblocked) -> None:
        """What may run now is queued in the end; what has ended is settled in its turn."""
        self._ended.extend(found.ended)
        for job in found.ready:
            if job.mapping is None:
                self._ready[job.seq] = job
            else:
                self.take(unfold(self._work, self._run_id, job))

    def _count_in_run(self, job: Ended) -> None:
        (
            open_jobs,
            failed,
            cancelled,
            is_cancelled,
            status,
            open_main,
            main_failures,
        ) = self._work.conn.execute(
            "UPDATE run SET open_jobs = open_jobs - 1, failed_jobs = failed_jobs + ?1,"
            " cancelled_jobs = cancelled_jobs + ?2, open_main = open_main - ?3,"
            " main_failures = main_failures + ?4 WHERE id = ?5"
            " RETURNING open_jobs, failed_jobs, cancelled_jobs, is_cancelled, status, open_main,"
            " main_failures",
            (
                job.counts,
                job.is_cancelled,
                job.is_main,
                job.is_main and job.has_failed,
                self._run_id,
            ),
        ).fetchone()
        if job.is_main and open_main == 0:
            self.take(end_of_main(self._work, self._run_id, has_failed=main_failures > 0))
        if open_jobs == 0:
            event = how_it_ended(cancelled=bool(is_cancelled or cancelled), failed=failed > 0)
            self._work.move_run(self._run_id, RunStatus(status), event)

    def _stop(self, failed: Ended) -> None:
        """The first failure that counts ends what has not started, where the pipeline says so."""
        on_error, is_stopped = self._work.conn.execute(
            "SELECT on_error, is_stopped FROM run WHERE id = ?", (self._run_id,)
        ).fetchone()
        if is_stopped or on_error == OnError.CONTINUE:
            return
        for job, ended in stop_run(self._work, self._run_id, failed.job_id, OnError(on_error)):
            self._ready.pop(job.seq, None)
            self._left.append(job)
            self._ended.append(ended)


def end_of_main(work: Work, run_id: int, *, has_failed: bool) -> Unblocked:
    """Jobs that watch the whole run wait for it no more."""
    return resolve(
        work,
        run_id,
        "run_id = ? AND watches_run = 1",
        (run_id,),
        lets_go=True,
        has_failed=has_failed,
        what="dependency",
    )


def how_it_ended(*, cancelled: bool, failed: bool) -> RunEvent:
    """What becomes of a run when its last job has ended."""
    if cancelled:
        return RunEvent.CANCEL
    return RunEvent.FAIL if failed else RunEvent.SUCCEED
