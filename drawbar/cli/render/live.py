"""Progress on a terminal: what waits for a person, what runs, what is tried again, and a bar.

Above it are the failures, which stay.
"""

from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Final

from rich.console import Console, ConsoleOptions, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from drawbar.cli.render import words
from drawbar.cli.render.lines import sentence
from drawbar.cli.render.names import Name
from drawbar.cli.render.progress import JobProgress, Progress, Step
from drawbar.cli.render.statuses import in_order, look
from drawbar.cli.render.tables import counts_text
from drawbar.cli.render.waits import phase_words, sleep_words, wait_words
from shared.protocol.states import FAILURES, JobStatus

TAIL_STYLE: Final = "dim"


class LiveDisplay:
    """Redrawn when `tick` is called. Leaves only failures and notes behind."""

    keeps_tails = True
    moves = True

    def __init__(self, console: Console, progress: Progress, now: Callable[[], datetime]) -> None:
        self._console = console
        self._progress = progress
        self._now = now
        self._live = Live(
            get_renderable=lambda: _Picture(progress, now()),
            console=console,
            auto_refresh=False,  # a thread of rich's own would read what the event loop changes
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
        )

    def __enter__(self) -> "LiveDisplay":
        self._live.start(refresh=True)
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def tick(self) -> None:
        self._live.refresh()

    def show(self, step: Step) -> None:
        """Failures and retries stay on the screen; what went well is in the bar."""
        said = sentence(step)
        if said is not None and step.job.status in (
            *FAILURES,
            JobStatus.RETRYING,
        ):
            symbol, style = look(step.job.status)
            name = words.one_line(step.job.id)
            self._console.print(Text.assemble((f"{symbol} {name}", style), f"  {said}"))

    def show_tail(self, step: Step, lines: list[str]) -> None:
        """The last lines of a job's log, below its failure."""
        for line in lines:
            self._console.print(Text(f"    {line}", style=TAIL_STYLE), overflow="ellipsis")

    def note(self, text: str) -> None:
        """A line that is about the run as a whole."""
        self._console.print(Text(text, style="yellow"))


class _Picture:
    """The moving part, as tall as the terminal allows."""

    def __init__(self, progress: Progress, now: datetime) -> None:
        self._progress = progress
        self._now = now

    def __rich_console__(
        self, console: Console, options: ConsoleOptions
    ) -> Iterator[RenderableType]:
        rows = list(self._rows())
        room = max(1, options.size.height - 4)
        shown = rows if len(rows) <= room else rows[: room - 1]
        if shown:
            grid = Table.grid(padding=(0, 2, 0, 0))
            grid.add_column(ratio=None)
            grid.add_column(justify="right", no_wrap=True)
            grid.add_column(no_wrap=True, overflow="ellipsis")
            for row in shown:
                grid.add_row(*row)
            yield grid
        if len(shown) < len(rows):
            yield Text(f"  and {len(rows) - len(shown)} more", style="dim")
        yield self._bar()

    def _rows(self) -> Iterator[tuple[RenderableType, str, Text]]:
        """First what waits for a person, then what runs, what is tried again, and what sleeps."""
        progress = self._progress
        run_id = progress.run_id
        for job in progress.unapproved.values():
            assert run_id is not None, "an event told of the job"
            waits = wait_words(run_id, job.id, job.held_for)
            yield _named(JobStatus.HELD, job), "", Text(waits, style="yellow")
        for job in progress.asleep.values():
            if job.sleeps is not None and job.sleeps[0] == "question":
                yield self._sleeping(job, "yellow")
        for job in progress.running.values():
            said = [phase_words(job.phase), f"try {job.tries}" if job.tries > 1 else ""]
            took = words.span(job.started_at, None, self._now)
            yield (
                _named(JobStatus.RUNNING, job),
                took,
                Text(", ".join(filter(None, said)), "yellow"),
            )
        for job in progress.retrying.values():
            assert job.again_at is not None, "it waits for its next try"
            left_s = max(0.0, (job.again_at - self._now).total_seconds())
            said_of = f"try {job.tries + 1} in {words.duration(left_s)}"
            yield _named(JobStatus.RETRYING, job), "", Text(said_of, "yellow")
        for job in progress.asleep.values():
            if job.sleeps is not None and job.sleeps[0] != "question":
                yield self._sleeping(job, "dim")

    def _sleeping(self, job: JobProgress, style: str) -> tuple[RenderableType, str, Text]:
        assert self._progress.run_id is not None, "an event told of the job"
        assert job.sleeps is not None, "it sleeps"
        trigger, says = job.sleeps
        said = sleep_words(self._progress.run_id, job.id, trigger, words.one_line(says))
        return _named(job.status, job), "", Text(said, style)

    def _bar(self) -> Table:
        progress = self._progress
        total, ended = len(progress.jobs), progress.ended
        bad = sum(progress.counts[status] for status in FAILURES)
        style = "red" if bad else "green"
        grid = Table.grid(padding=(0, 2, 0, 0))
        grid.add_column(width=30)
        for _ in range(3):
            grid.add_column(no_wrap=True)
        grid.add_row(
            ProgressBar(total, ended, width=30, complete_style=style, finished_style=style),
            f"{ended}/{total}",
            counts_text(in_order({str(status): n for status, n in progress.counts.items()})),
            words.span(progress.started_at, None, self._now),
        )
        return grid


def _named(status: JobStatus, job: JobProgress) -> Name:
    symbol, style = look(status)
    return Name(job.id, symbol=f"{symbol} ", style=style)
