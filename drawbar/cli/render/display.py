"""Which kind of display a stream gets: a picture that moves on a terminal, lines elsewhere."""

from collections.abc import Callable
from datetime import datetime
from types import TracebackType
from typing import Protocol, Self, TextIO

from drawbar.cli.render.lines import LineDisplay
from drawbar.cli.render.progress import Progress, Step


class Display(Protocol):
    """Something that shows a run while it goes on."""

    keeps_tails: bool  # they are on the screen already when the run ends
    moves: bool  # and shows what jobs are about while they run

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...

    def show(self, step: Step) -> None:
        """A job moved."""

    def show_tail(self, step: Step, lines: list[str]) -> None:
        """The last lines that the job wrote, which failed in this step."""

    def note(self, text: str) -> None:
        """Something about the run as a whole."""

    def tick(self) -> None:
        """Time has passed."""


def display_for(stream: TextIO, progress: Progress, now: Callable[[], datetime]) -> Display:
    """A display that writes to `stream`."""
    if stream.isatty():
        from drawbar.cli.render.console import console
        from drawbar.cli.render.live import LiveDisplay

        return LiveDisplay(console(stream), progress, now)

    def write(line: str) -> None:
        stream.write(line + "\n")
        stream.flush()

    return LineDisplay(write, width=max((len(job_id) for job_id in progress.jobs), default=0))
