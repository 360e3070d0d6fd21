"""What is said of a run that has ended: its jobs, how each went, and where to read on."""

from collections.abc import Sequence
from datetime import datetime
from typing import TextIO

from rich.console import Group
from rich.text import Text

from drawbar.cli.following import Tail
from drawbar.cli.render.console import console
from drawbar.cli.render.statuses import look
from drawbar.cli.render.tables import JobsTable, headline, worth_listing
from drawbar.cli.render.words import count, one_line
from shared.protocol.jobs import RunView


def print_summary(run: RunView, tails: Sequence[Tail], stream: TextIO, now: datetime) -> None:
    """The failures' last lines, then a table of the jobs, then the run in one line."""
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


def summary(run: RunView, now: datetime) -> Group:
    """The table and the line below it."""
    listed = worth_listing(run.jobs)
    parts: list[object] = [JobsTable(run.run_id, listed, now)] if listed else []
    if len(listed) < len(run.jobs):
        rest = count(len(run.jobs) - len(listed), "job")
        parts.append(Text(f"{rest} succeeded and are not listed", style="dim"))
    return Group(*parts, Text(""), headline(run, now))  # type: ignore[arg-type]  # renderables
