"""What is doubtful of a job's checks. Only notes: which checks there are, its worker decides."""

from typing import Any

from drawbar.document.jobs import Job, node_of
from drawbar.document.mistakes import Report


def note_doubts(jobs: list[Job], *, has_plugins: bool, report: Report) -> None:
    """Checks that do not come with drawbar, and shipped ones whose parameters do not fit."""
    for job in jobs:
        for place in ("pre_checks", "post_checks") if job.is_good else ():
            for i, check in enumerate(getattr(job.spec, place)):
                doubt = _doubt(check.name, check.params, has_plugins, report)
                if doubt is not None:
                    at, path = node_of(job, place, i)
                    report.note(at, path, f"check {check.name[:100]!r}: {doubt}")


def _doubt(name: str, params: dict[str, Any], has_plugins: bool, report: Report) -> str | None:
    # Most documents have no checks, and need not wait for them.
    from worker.checks.params import BadParams, read_params, take_timeout
    from worker.checks.shipped import SHIPPED

    if name not in SHIPPED:
        hint = report.hint(name, lambda: list(SHIPPED))
        return None if has_plugins else f"does not come with drawbar; workers must have it{hint}"
    try:
        read_params(SHIPPED[name].params, take_timeout(params)[1])
    except BadParams as error:
        return None if "${" in str(params) else str(error)
    return None
