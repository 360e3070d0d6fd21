"""Names of jobs in tables and lists, where there is less room than they would take."""

from collections.abc import Iterator
from typing import Final

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderableType
from rich.measure import Measurement
from rich.text import Text

from drawbar.cli.render.words import one_line

SHORTEST_NAME: Final = 8


class Name:
    """A cell that is shortened in its middle where its column is narrow."""

    def __init__(self, name: str, *, symbol: str = "", style: str = "") -> None:
        self._name = one_line(name)
        self._symbol = Text(symbol, style=style)

    def __rich_measure__(self, _: Console, options: ConsoleOptions) -> Measurement:
        whole = self._symbol.cell_len + cell_len(self._name)
        return Measurement(min(whole, SHORTEST_NAME), whole).with_maximum(options.max_width)

    def __rich_console__(self, _: Console, options: ConsoleOptions) -> Iterator[RenderableType]:
        name = shortened(self._name, max(1, options.max_width - self._symbol.cell_len))
        shown = Text(no_wrap=True, overflow="ellipsis")
        yield shown.append_text(self._symbol).append(name)


def shortened(text: str, width: int) -> str:
    """`text` in at most `width` characters; what is left out is left out of its middle.

    Names of jobs differ at their ends: `test[py=3.11,os=linux]`.
    """
    if len(text) <= width:
        return text
    if width < 3:
        return text[:width]
    end = (width - 1) // 2
    return f"{text[: width - 1 - end]}…{text[len(text) - end :]}"
