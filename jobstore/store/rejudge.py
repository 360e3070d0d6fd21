"""A run is judged anew after one of its ended jobs was marked: who may run after all?

One look at the whole run, because marking is rare, and what settle.py counts step by step is here
worked out from what all jobs are. Jobs that have run, or run now, are left as they are.
"""

from collections import defaultdict
from dataclasses import dataclass, field
from graphlib import TopologicalSorter

from jobstore.states import JobEvent, StageEvent
from jobstore.store.admit import COLUMNS, ready
from jobstore.store.row import ROW, Ended, JobRow, job_row
from jobstore.store.settle import enter, settle
from jobstore.store.stop import FAIL_FAST
from jobstore.store.unblock import skip_idle
from jobstore.store.work import Work
from shared.protocol.pipeline import OnError, When
from shared.protocol.states import FAILURES, JobStatus, StageStatus

# Skipped for one of these, a job may run after all; it is left alone that a person left out, or
# that waits for failures.
_UNDONE = ("dependency", "stage", FAIL_FAST)
_BY_CHOICE = ("operator", "resume")  # others go on as if these had succeeded


@dataclass
class _Node:
    """A job, as it is and as it shall be."""

    job: JobRow
    condition: str
    watches_run: bool
    what: str | None  # why it ended
    needs: list["_Node"] = field(default_factory=list)
    is_revived: bool = False
    end: Ended | None = None  # None: it is open, or will be again

    def judge(self, *, may_revive: bool, is_stopped: bool, has_failed_before: bool) -> None:
        """`is_revived` and `end` are known; those of its needs are known already."""
        status = self.job.status
        self.is_revived = (
            may_revive
            and status is JobStatus.SKIPPED
            and self.what in _UNDONE
            and all(need.end is None or need.end.lets_go for need in self.needs)
        )
        if self.is_revived or not status.is_ended:
            return
        failed = any(
            need.end is not None and need.end.has_failed and not need.end.lets_go
            for need in self.needs
        )
        self.end = self.job.after(
            status,
            by_failure=(self.what == FAIL_FAST and (status is JobStatus.SKIPPED or is_stopped))
            or (self.what == "dependency" and failed)
            or (self.what == "stage" and has_failed_before),
            by_choice=status is JobStatus.SKIPPED and self.what in _BY_CHOICE,
        )


@dataclass
class _Stage:
    """What the jobs of a stage, as they shall be, make of it."""

    position: int
    is_reached: bool
    is_spoilt: bool
    failures_before: int
    nodes: list[_Node]

    @property
    def ends(self) -> list[Ended]:
        return [node.end for node in self.nodes if node.end is not None]

    @property
    def open_jobs(self) -> int:
        return len(self.nodes) - len(self.ends)

    @property
    def failures(self) -> int:
        return sum(end.has_failed for end in self.ends)

    @property
    def way(self) -> tuple[StageEvent, ...]:
        """The events that lead there from the beginning."""
        if not self.is_reached:
            return ()
        if self.open_jobs:
            return (StageEvent.OPEN,)
        if any(end.counts for end in self.ends):
            return StageEvent.OPEN, StageEvent.FAIL
        if any(end.is_cancelled for end in self.ends):
            return (StageEvent.CANCEL,)
        if self.is_spoilt and all(n.job.status is JobStatus.SKIPPED for n in self.nodes):
            return (StageEvent.SKIP,)
        return StageEvent.OPEN, StageEvent.SUCCEED

    @property
    def succeeds(self) -> bool:
        return self.way[-1:] == (StageEvent.SUCCEED,)


def rejudge(work: Work, run_id: int) -> None:
    """Counters, stages and skipped jobs are what they would be had the marked job succeeded."""
    nodes = _load(work, run_id)
    on_error, is_cancelled = work.conn.execute(
        "SELECT on_error, is_cancelled FROM run WHERE id = ?", (run_id,)
    ).fetchone()
    has_failed = any(n.job.status in FAILURES and not n.job.allow_failure for n in nodes)
    is_stopped = has_failed and on_error != OnError.CONTINUE
    stages = _walk(work, run_id, nodes, is_stopped=is_stopped, is_cancelled=bool(is_cancelled))
    _write_run(work, run_id, nodes, is_stopped=is_stopped)
    for stage in stages:
        _write_stage(work, run_id, stage)
    for node in nodes:
        if node.is_revived:
            work.move_job(
                node.job.seq, JobStatus.SKIPPED, JobEvent.REVIVE, ended_at=None, reason=None
            )
            work.record("job.revived", run_id, node.job.job_id, job_seq=node.job.seq)
    _unblock(work, run_id, nodes, {stage.position: stage for stage in stages})


def left_out(work: Work, run_id: int) -> list[JobRow]:
    """Who was skipped because something failed or was cancelled, and would else have run.

    What is behind a job that was skipped for no failure would have been skipped in any case.
    """
    left: dict[int, JobRow] = {}
    for node in _load(work, run_id):
        if node.job.status is not JobStatus.SKIPPED or node.what not in _UNDONE:
            continue
        if node.condition != When.ON_SUCCESS or not any(
            need.job.status is JobStatus.SKIPPED
            and need.what not in _BY_CHOICE
            and need.job.seq not in left
            for need in node.needs
        ):
            left[node.job.seq] = node.job
    return list(left.values())


def _load(work: Work, run_id: int) -> list[_Node]:
    """Every job of the run with what it needs, in an order in which needs come first."""
    columns = ROW.count(",") + 1
    of_seq = {
        row[0]: _Node(job_row(row[:columns]), *row[columns:])
        for row in work.conn.execute(
            f"SELECT {ROW}, condition, watches_run, reason ->> 'what' FROM job"
            " WHERE run_id = ? ORDER BY seq",
            (run_id,),
        ).fetchall()
    }
    for upstream, downstream in work.conn.execute(
        "SELECT edge.upstream, edge.downstream FROM job"
        " JOIN edge ON edge.downstream = job.seq WHERE job.run_id = ? ORDER BY 2, 1",
        (run_id,),
    ).fetchall():
        of_seq[downstream].needs.append(of_seq[upstream])
    order = TopologicalSorter(
        {seq: [need.job.seq for need in node.needs] for seq, node in of_seq.items()}
    )
    return [of_seq[seq] for seq in order.static_order()]


def _walk(
    work: Work, run_id: int, nodes: list[_Node], *, is_stopped: bool, is_cancelled: bool
) -> list[_Stage]:
    """Stage by stage it is decided who is revived. A run without stages is one stage."""
    positions = [
        row[0]
        for row in work.conn.execute(
            "SELECT position FROM stage WHERE run_id = ? ORDER BY position", (run_id,)
        ).fetchall()
    ]
    in_stage: dict[int, list[_Node]] = defaultdict(list)
    for node in nodes:
        in_stage[node.job.stage].append(node)
    stages: list[_Stage] = []
    is_reached, is_spoilt, failures = True, False, 0
    for position in positions or [0]:
        for node in in_stage[position]:
            node.judge(
                may_revive=not (is_stopped or is_cancelled or is_spoilt),
                is_stopped=is_stopped,
                has_failed_before=failures > 0,
            )
        stage = _Stage(position, is_reached, is_spoilt, failures, in_stage[position])
        stages.append(stage)
        is_reached = is_reached and stage.open_jobs == 0
        if is_reached:
            is_spoilt = is_spoilt or not stage.succeeds
        failures += stage.failures
    return stages


def _write_run(work: Work, run_id: int, nodes: list[_Node], *, is_stopped: bool) -> None:
    ends = [node.end for node in nodes if node.end is not None]
    main = [end for end in ends if end.is_main]
    work.conn.execute(
        "UPDATE run SET open_jobs = ?, failed_jobs = ?, cancelled_jobs = ?, open_main = ?,"
        " main_failures = ?, is_stopped = ? WHERE id = ?",
        (
            len(nodes) - len(ends),
            sum(end.counts for end in ends),
            sum(end.is_cancelled for end in ends),
            sum(node.job.is_main for node in nodes) - len(main),
            sum(end.has_failed for end in main),
            is_stopped,
            run_id,
        ),
    )


def _write_stage(work: Work, run_id: int, stage: _Stage) -> None:
    row = work.conn.execute(
        "UPDATE stage SET open_jobs = ?, failed_jobs = ?, failures = ?, cancelled_jobs = ?,"
        " is_reached = ?, is_spoilt = ? WHERE run_id = ? AND position = ? RETURNING status",
        (
            stage.open_jobs,
            sum(end.counts for end in stage.ends),
            stage.failures + (stage.failures_before if stage.is_reached else 0),
            sum(end.is_cancelled for end in stage.ends),
            stage.is_reached,
            stage.is_reached and stage.is_spoilt,
            run_id,
            stage.position,
        ),
    ).fetchone()
    if row is None:
        return  # a run without stages
    now = StageStatus(row[0])
    target = _TARGETS[stage.way[-1:]]
    if now is target or (now is StageStatus.RUNNING and target is StageStatus.PENDING):
        return  # what runs there in spite of failures goes on
    if now not in (StageStatus.PENDING, StageStatus.RUNNING):
        now = work.move_stage(run_id, stage.position, now, StageEvent.REOPEN)
    for event in stage.way:
        if not (event is StageEvent.OPEN and now is StageStatus.RUNNING):
            now = work.move_stage(run_id, stage.position, now, event)


_TARGETS = {
    (): StageStatus.PENDING,
    (StageEvent.OPEN,): StageStatus.RUNNING,
    (StageEvent.FAIL,): StageStatus.FAILED,
    (StageEvent.CANCEL,): StageStatus.CANCELLED,
    (StageEvent.SKIP,): StageStatus.SKIPPED,
    (StageEvent.SUCCEED,): StageStatus.SUCCESS,
}


def _unblock(work: Work, run_id: int, nodes: list[_Node], stages: dict[int, _Stage]) -> None:
    """Blocked jobs wait for what is open, and for nothing else."""
    open_main, main_failures = work.conn.execute(
        "SELECT open_main, main_failures FROM run WHERE id = ?", (run_id,)
    ).fetchone()
    may_run, idle = [], []
    for node in nodes:
        if not (node.is_revived or node.job.status is JobStatus.BLOCKED):
            continue
        stage = stages[node.job.stage]
        ends = [need.end for need in node.needs]
        waits = ends.count(None) + (not stage.is_reached) + bool(node.watches_run and open_main)
        failures = sum(end is not None and end.has_failed for end in ends)
        failures += stage.is_reached and stage.failures_before > 0
        failures += bool(node.watches_run and not open_main and main_failures)
        row = work.conn.execute(
            f"UPDATE job SET waits = ?, failures = ? WHERE seq = ? RETURNING {COLUMNS}",
            (waits, failures, node.job.seq),
        ).fetchone()
        if waits == 0 and node.condition == When.ON_FAILURE and not failures:
            idle.append(node.job.seq)
        elif waits == 0:
            may_run.append(ready(row))
    enter(work, run_id, may_run)
    for seq in idle:
        settle(work, run_id, skip_idle(work, run_id, seq))
