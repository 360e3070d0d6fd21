"""Runs for other programs, one after another: JSON Lines, CSV and JUnit XML.

A run is written as a whole, so that any number of them can be, in memory for one.
"""

import csv
import io
import json
from collections.abc import Callable, Iterator, Mapping
from typing import Final, NamedTuple

from shared.protocol.jobs import JobView, RunView
from shared.reports import facts
from shared.reports.facts import Attempts
from shared.reports.junit import JUNIT_CLOSE, JUNIT_OPEN, suites


class Export(NamedTuple):
    """What stands before all runs, what is written of each, and what stands after."""

    opening: str
    of_run: Callable[[RunView, Attempts], Iterator[str]]
    closing: str


COLUMNS: Final = (
    "run_id",
    "pipeline",
    "run_status",
    "job_id",
    "stage",
    "status",
    "exit_code",
    "reason",
    "message",
    "tries",
    "attempts",
    "refusals",
    "allow_failure",
    "started_at",
    "ended_at",
    "duration_s",
)


def json_lines(run: RunView, attempts: Attempts) -> Iterator[str]:
    """The run on one line, then each of its jobs with its attempts on one."""
    of_run = run.model_dump(mode="json", exclude={"jobs"})
    yield _line({"kind": "run", **of_run, "duration_s": facts.took_s(run)})
    for job in run.jobs:
        tried = [attempt.model_dump(mode="json") for attempt in attempts.get(job.id, ())]
        yield _line(
            {
                "kind": "job",
                "run_id": run.run_id,
                "pipeline": run.name,
                **job.model_dump(mode="json", exclude={"attempts"}),
                "duration_s": facts.took_s(job),
                "attempts": tried,
            }
        )


def csv_rows(run: RunView, _: Attempts) -> Iterator[str]:
    """A line for each job, under `COLUMNS`."""
    for job in run.jobs:
        yield _row(_cells(run, job))


def _line(facts: Mapping[str, object]) -> str:
    return json.dumps(facts, separators=(",", ":")) + "\n"  # in ASCII: fits any encoding


def _cells(run: RunView, job: JobView) -> tuple[object, ...]:
    took = facts.took_s(job)
    return (
        run.run_id,
        _plain(run.name),
        run.status,
        _plain(job.id),
        _plain(job.stage or ""),
        job.status,
        job.exit_code,
        job.reason and _plain(job.reason.what),
        job.reason and _plain(job.reason.message),
        job.tries,
        job.attempts,
        job.refusals,
        str(job.allow_failure).lower(),
        job.started_at and job.started_at.isoformat(),
        job.ended_at and job.ended_at.isoformat(),
        None if took is None else f"{took:.6f}",
    )


def _plain(text: str) -> str:
    """On one line; and a spreadsheet must not take what a job wrote for a formula."""
    line = facts.one_line(text)
    return f"'{line}" if line[:1] in ("=", "+", "-", "@") else line


def _row(cells: tuple[object, ...]) -> str:
    out = io.StringIO()
    csv.writer(out).writerow(cells)  # RFC 4180: quoted where needed, lines end with CR LF
    return out.getvalue()


EXPORTS: Final[Mapping[str, Export]] = {
    "jsonl": Export("", json_lines, ""),
    "csv": Export(_row(COLUMNS), csv_rows, ""),
    "junit": Export(JUNIT_OPEN, suites, JUNIT_CLOSE),
}
