"""Past runs as tables: how jobs did over time, and how two runs differ."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final

from rich.table import Table
from rich.text import Text

from drawbar.cli.render import words
from drawbar.cli.render.columns import table
from drawbar.cli.render.statuses import look
from drawbar.cli.render.tables import status_text
from shared.figures import Figures, figures
from shared.protocol.history import JobDiff, PastJob
from shared.protocol.states import JobStatus

_HEIGHTS: Final = "▁▂▃▄▅▆▇█"
SPARKS: Final = 30
BAR: Final = 24
LISTED: Final = (
    500  # lines of a table: a terminal keeps hardly more, and setting more takes seconds
)


def sparkline(jobs: Sequence[PastJob]) -> Text:
    """A letter for each run, oldest first: how long it took, and in colour how it ended."""
    shown = jobs[:SPARKS][::-1]
    longest = max((job.duration_s or 0.0 for job in shown), default=0.0) or 1.0
    line = Text()
    for job in shown:
        if job.duration_s is None:
            line.append("·", style=look("skipped").style)
            continue
        height = int(job.duration_s / longest * (len(_HEIGHTS) - 1) + 0.5)
        line.append(_HEIGHTS[height], style=look(job.status).style)
    return line


def figures_text(job_id: str, pipeline: str, found: Figures, jobs: Sequence[PastJob]) -> Text:
    """`compile of release: 18 of 20 succeeded (90 %), …`."""
    ran = [job for job in jobs if job.tries > 0]
    good = sum(job.status is JobStatus.SUCCESS for job in ran)
    text = Text.assemble(
        (words.one_line(job_id), "bold"), f" of {words.one_line(pipeline)}: ", f"{rate(found)}"
    )
    text.append(f" ({good} of {len(ran)} that ran)" if ran else "it never ran")
    if found.median_s is not None and found.p95_s is not None:
        text.append(f", usually {words.duration(found.median_s)}")
        text.append(f", 95 % within {words.duration(found.p95_s)}")
    if found.flaky:
        text.append(f", {found.flaky} flaky", style=look("retrying").style)
    return text


def rate(found: Figures) -> str:
    return "" if found.success_rate is None else f"{found.success_rate * 100:.0f} % success"


def job_table(jobs: Sequence[PastJob], now: datetime) -> Table:
    """One job, a line for each run, newest first, with a bar for its duration."""
    longest = max((job.duration_s or 0.0 for job in jobs), default=0.0) or 1.0
    made = table(
        "run",
        "status",
        "exit",
        "tries",
        "ended",
        "took",
        "",
        right=("run", "exit", "tries", "took"),
    )
    for job in jobs:
        cells = round((job.duration_s or 0.0) / longest * BAR)
        bar = "█" * max(cells, 1) if job.duration_s is not None else ""
        made.add_row(
            str(job.run_id),
            status_text(job.status),
            "" if job.exit_code is None else str(job.exit_code),
            str(job.tries) if job.tries else "",
            words.ago(job.ended_at, now),
            "" if job.duration_s is None else words.duration(job.duration_s),
            Text(bar, style=look(job.status).style),
        )
    return made


def by_job(jobs: Sequence[PastJob]) -> dict[str, list[PastJob]]:
    """In the order of the newest run's document, each job newest first."""
    of_job: dict[str, list[PastJob]] = {}
    for job in jobs:
        of_job.setdefault(job.job_id, []).append(job)
    return of_job


def pipeline_table(of_job: Mapping[str, Sequence[PastJob]]) -> Table:
    """Jobs of a pipeline, one line each. Of very many only those that succeed least often."""
    chosen = list(of_job)
    if len(chosen) > LISTED:
        chosen.sort(key=lambda job_id: figures(of_job[job_id]).success_rate or 0.0)
    made = table(
        "job",
        "runs",
        "success",
        "flaky",
        "usually",
        "95 % within",
        "durations",
        right=("runs", "success", "flaky", "usually", "95 % within"),
    )
    for job_id in chosen[:LISTED]:
        past = of_job[job_id]
        found = figures(past)
        made.add_row(
            Text(words.one_line(job_id)),
            str(sum(job.tries > 0 for job in past)),
            "" if found.success_rate is None else f"{found.success_rate * 100:.0f} %",
            str(found.flaky or ""),
            "" if found.median_s is None else words.duration(found.median_s),
            "" if found.p95_s is None else words.duration(found.p95_s),
            sparkline(past),
        )
    return made


def diff_table(jobs: Sequence[JobDiff], before: int, after: int) -> Table:
    made = table(
        "job", f"run {before}", f"run {after}", "before", "after", "change", "document changed in",
        right=("before", "after", "change"),
    )  # fmt: skip
    for job in jobs:
        made.add_row(
            Text(words.one_line(job.job_id)),
            Text("—") if job.before is None else status_text(job.before),
            Text("—") if job.after is None else status_text(job.after),
            "" if job.before_s is None else words.duration(job.before_s),
            "" if job.after_s is None else words.duration(job.after_s),
            change_text(job),
            Text(", ".join(job.spec)),
        )
    return made


def change_text(job: JobDiff) -> Text:
    """How much longer or shorter it took; empty where that says nothing."""
    if not job.before_s or job.after_s is None or not is_notable(job):
        return Text("")
    ratio = job.after_s / job.before_s
    if ratio >= 10:
        return Text(f"{ratio:.0f} x", style=look("failed").style)
    style = look("failed" if ratio > 1 else "success").style
    return Text(f"{(ratio - 1) * 100:+.0f} %", style=style)


def is_notable(job: JobDiff) -> bool:
    """Whether its duration changed by more than a fifth, and by more than chance makes of it."""
    if job.before_s is None or job.after_s is None:
        return False
    by = abs(job.after_s - job.before_s)
    return by >= 0.5 and by > max(job.before_s, job.after_s) / 5
