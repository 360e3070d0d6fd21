"""Views of runs, jobs and attempts as the job service gives them, made by hand."""

from datetime import datetime, timedelta
from typing import Any

from shared.ids import AttemptId, JobId
from shared.protocol.jobs import AttemptView, JobView, Reason, RunView, StageView
from shared.protocol.states import AttemptStatus, JobStatus
from tests.support.runtime import T0


def at(seconds: float) -> datetime:
    return T0 + timedelta(seconds=seconds)


def a_reason(what: str = "exit_code", message: str = "exited with 2", who: str = "job") -> Reason:
    return Reason(who=who, what=what, message=message)


def a_job_view(
    job_id: str,
    status: str = "success",
    begin_s: float | None = 0.0,
    end_s: float | None = 1.0,
    **fields: Any,
) -> JobView:
    """A job that ran from `begin_s` to `end_s` after T0; None: it did not."""
    ran = begin_s is not None
    usual: dict[str, Any] = {
        "stage": None,
        "exit_code": {"success": 0, "failed": 2}.get(status),
        "reason": a_reason() if status == "failed" else None,
        "tries": int(ran),
        "attempts": int(ran),
        "refusals": 0,
        "needs": (),
        "allow_failure": False,
        "started_at": None if begin_s is None else at(begin_s),
        "ended_at": None if end_s is None else at(end_s),
    }
    return JobView.model_validate(usual | {"id": job_id, "status": status} | fields)


def an_attempt(
    fence: int, begin_s: float, end_s: float | None, exit_code: int | None = 0, **fields: Any
) -> AttemptView:
    usual: dict[str, Any] = {
        "attempt_id": AttemptId(f"attempt-{fence}"),
        "fence": fence,
        "worker_id": "ann",
        "status": AttemptStatus.RUNNING if end_s is None else AttemptStatus.REPORTED,
        "claimed_at": at(begin_s),
        "started_at": at(begin_s),
        "ended_at": None if end_s is None else at(end_s),
        "exit_code": exit_code,
        "signal": None,
        "reason": a_reason() if exit_code else None,
        "receipt_id": None,
        "log_size_bytes": 0,
        "log_lost_bytes": 0,
        "usage": None,
        "evidence": None,
    }
    return AttemptView.model_validate(usual | fields)


def a_run_view(*jobs: JobView, status: str = "success", **fields: Any) -> RunView:
    """Run 7 of `release`, which lasted as long as its jobs."""
    ends = [job.ended_at for job in jobs if job.ended_at]
    counts: dict[str, int] = {}
    for job in jobs:
        counts[job.status] = counts.get(job.status, 0) + 1
    usual: dict[str, Any] = {
        "run_id": 7,
        "name": "release",
        "status": status,
        "exit_code": 0 if status == "success" else 1,
        "created_at": T0,
        "started_at": T0,
        "ended_at": max(ends, default=None),
        "counts": counts,
        "retry_of": None,
        "stages": (),
    }
    return RunView.model_validate(usual | {"jobs": jobs} | fields)


def a_release() -> tuple[RunView, dict[JobId, list[AttemptView]]]:
    """A run in which a bit of everything happened, and the attempts of its jobs."""
    run = a_run_view(
        a_job_view("fetch[os=linux,py=3.11]", begin_s=0.2, end_s=12, stage="build"),
        a_job_view("compile", begin_s=12, end_s=95, stage="build", tries=2, attempts=2),
        a_job_view("unit", begin_s=95, end_s=140.5, stage="test", needs=("compile",)),
        a_job_view("lint", "failed", 95, 99, stage="test", allow_failure=True),
        a_job_view(
            "browser", "timeout", 96, 186, stage="test", tries=3, attempts=3,
            exit_code=None, reason=a_reason("timeout", "it ran longer than 30 s"),
        ),
        a_job_view(
            "load", "postcheck_failed", 96, 150, stage="test",
            reason=a_reason("postcheck", "ORA-00942 in logs/load.log"),
        ),
        a_job_view("cached", begin_s=95, end_s=95, stage="test", attempts=0, tries=0),
        a_job_view(
            "publish", "skipped", None, 186, stage="ship",
            reason=a_reason("stage", "an earlier stage did not succeed"),
        ),
        status="failed",
        stages=(
            StageView.model_validate({"name": "build", "status": "success"}),
            StageView.model_validate({"name": "test", "status": "failed"}),
            StageView.model_validate({"name": "ship", "status": "skipped"}),
        ),
        retry_of=5,
        attempt=2,
        schedule="nightly",
    )  # fmt: skip
    timeout = a_reason("timeout", "it ran longer than 30 s")
    return run, {
        JobId("compile"): [an_attempt(1, 12, 30, 2), an_attempt(2, 40, 95)],
        JobId("browser"): [
            an_attempt(1, 96, 126, None, reason=timeout),
            an_attempt(2, 130, 140, None, reason=None, status=AttemptStatus.LOST),
            an_attempt(3, 156, 186, None, reason=timeout),
        ],
    }


def a_big_run(jobs: int) -> RunView:
    """One of `jobs` jobs, of which every thousandth failed."""
    return a_run_view(
        *(
            a_job_view(
                f"part-{n}",
                JobStatus.FAILED if n % 1_000 == 7 else JobStatus.SUCCESS,
                begin_s=n / 50,
                end_s=n / 50 + 1 + n % 7,
            )
            for n in range(jobs)
        ),
        status="failed",
    )
