"""How tables are laid out: aligned, without borders, as wide as the terminal lets them be."""

from collections.abc import Iterator, Sequence
from typing import Final

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderableType
from rich.padding import Padding
from rich.segment import Segment, Segments
from rich.table import Table
from rich.text import Text

from drawbar.cli.render.names import SHORTEST_NAME

GAP: Final = 2
WIDER_THAN_ANY: Final = 10_000


def table(*columns: str, right: Sequence[str] = (), names: Sequence[str] = ()) -> Table:
    """No borders; the last column may wrap, and of `Name`s the middle may be left out."""
    made = Table(box=None, padding=(0, 2, 0, 0), header_style="bold", pad_edge=False)
    for name in columns:
        is_last = name == columns[-1]
        made.add_column(
            name.upper(),
            justify="right" if name in right else "left",
            no_wrap=not is_last and name not in names,
            overflow="fold" if is_last else "ellipsis",
            min_width=SHORTEST_NAME if name in names else None,
        )
    return made


def kept_whole(made: Table, *columns: str) -> Table:
    """Those columns are as wide as what is in them, however narrow the terminal is."""
    for column in made.columns:
        if str(column.header).lower() in columns:
            column.no_wrap = True
            column.min_width = max(cell_len(str(cell)) for cell in (column.header, *column.cells))
    return made


def with_lines(
    made: Table, lines: Sequence[Sequence[Text]], console: Console, options: ConsoleOptions
) -> Iterator[RenderableType]:
    """The table, and below each of its rows, indented, the lines that go with it."""
    rows = console.render_lines(made, options, pad=False)
    for below, row in zip([[], *lines], rows, strict=True):
        yield Segments([*row, Segment.line()])
        for line in filter(None, below):
            yield Padding(line, (0, 0, 0, 4), expand=False)


class Roomy:
    """A table of all columns where there is room, else of the first `kept`.

    The other cells are then lines below their row, each after its column's name.
    """

    def __init__(self, *columns: str, kept: int, right: Sequence[str] = ()) -> None:
        self._columns = columns
        self._kept = kept
        self._right = right
        self._rows: list[tuple[Text, ...]] = []

    def add_row(self, *cells: Text) -> None:
        self._rows.append(cells)

    def __rich_console__(
        self, console: Console, options: ConsoleOptions
    ) -> Iterator[RenderableType]:
        whole = self._table(len(self._columns))
        if console.measure(whole, options=options.update(width=WIDER_THAN_ANY)).maximum <= (
            options.max_width + GAP  # behind the last column nothing needs to be
        ):
            yield whole
            return
        rest = self._columns[self._kept :]
        lines = [
            [
                Text.assemble((f"{name}: ", "dim"), cell)
                for name, cell in zip(rest, row[self._kept :], strict=True)
                if cell
            ]
            for row in self._rows
        ]
        yield from with_lines(self._table(self._kept), lines, console, options)

    def _table(self, number: int) -> Table:
        made = table(*self._columns[:number], right=self._right, names=self._columns[:1])
        for row in self._rows:
            made.add_row(*row[:number])
        return made
