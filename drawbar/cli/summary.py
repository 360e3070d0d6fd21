"""What is said of a run that has ended: its jobs, how each went, and where to read on."""

import shlex
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import TextIO

from rich.console import Group
from rich.text import Text

from drawbar.cli.following import Tail
from drawbar.cli.render.console import console
from drawbar.cli.render.statuses import look
from drawbar.cli.render.tables import JobsTable, headline, worth_listing
from drawbar.cli.render.words import count, one_line
from shared.protocol.jobs import JobView, RunView
from shared.protocol.states import FAILURES, JobStatus, RunStatus


def print_summary(
    run: RunView, tails: Sequence[Tail], stream: TextIO, now: datetime, *, file: Path | None = None
) -> None:
    """The failures' last lines, then a table of the jobs, then the run in one line.

    Where the run did not succeed and its `file` is known, also how to go on.
    """
    out = console(stream)
    for tail in tails:
        symbol, style = look(tail.status)
        out.print()
        title = f"{symbol} {one_line(tail.job_id)}: the last lines of its log"
        out.print(Text(title if tail.lines else f"{title} (it is empty)", style=style))
        for line in tail.lines:
            out.print(Text(f"    {line}"), overflow="ignore", no_wrap=True, crop=False)
    out.print()
    out.print(summary(run, now))
    if file is not None and run.status is not RunStatus.SUCCESS:
        again = shlex.join(["drawbar", "run", str(file), "--resume", str(run.run_id)])
        out.print(Text(f"go on where it ended with: {again}", style="dim"), soft_wrap=True)


def summary(run: RunView, now: datetime) -> Group:
    """The table, stage after stage, and the line below it."""
    position = {stage.name: n for n, stage in enumerate(run.stages)}
    listed = sorted(worth_listing(run.jobs), key=lambda job: position.get(job.stage or "", 0))
    parts: list[object] = [JobsTable(run.run_id, listed, now)] if listed else []
    if len(listed) < len(run.jobs):
        rest = count(len(run.jobs) - len(listed), "job")
        parts.append(Text(f"{rest} succeeded and are not listed", style="dim"))
    parts += [Text(""), headline(run, now)]
    if run.status is RunStatus.FAILED and not any(map(_is_failure, run.jobs)):
        said = (
            f"what failed was marked, the rest was not run: drawbar run FILE --resume {run.run_id}"
        )
        parts.append(Text(f"{said} runs it", style="dim"))
    return Group(*parts)  # type: ignore[arg-type]  # renderables


def _is_failure(job: JobView) -> bool:
    return job.status is JobStatus.CANCELLED or (job.status in FAILURES and not job.allow_failure)
