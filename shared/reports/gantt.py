"""The Gantt chart as SVG, to be put into a page. Colours come from the page's style sheet."""

from collections.abc import Iterator
from html import escape
from typing import Final

from shared.reports import facts
from shared.reports.timeline import Bar, Row, Timeline, ticks
from shared.words import count, duration

WIDTH: Final = 1_000
LEFT: Final = 220  # names end here
RIGHT: Final = 80  # durations of the longest bars
ROW: Final = 22
TOP: Final = 24
THINNEST: Final = 2.0
NAME_LETTERS: Final = 30


def gantt(drawn: Timeline) -> str:
    """A self-contained `svg` element: a row for each job, a bar for each try."""
    height = TOP + ROW * len(drawn.rows) + 4
    label = f"When {count(len(drawn.rows), 'job')} ran, over {duration(drawn.length_s)}"
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img"'
        f' font-size="12" aria-label="{escape(label)}">',
        *_axis(drawn.length_s, height),
        *(line for number, row in enumerate(drawn.rows) for line in _row(row, number, drawn)),
        "</svg>",
    ]
    return "\n".join(parts)


def _axis(length_s: float, height: int) -> Iterator[str]:
    for at_s, words in ticks(length_s, about=8):
        x = _x(at_s, length_s)
        ends = f'x1="{x}" y1="{TOP - 4}" x2="{x}" y2="{height}"'
        yield f'<line class="grid" stroke="#d0d4da" {ends}/>'
        yield f'<text class="axis" x="{x}" y="12" text-anchor="middle">{words}</text>'


def _row(row: Row, number: int, drawn: Timeline) -> Iterator[str]:
    job, top = row.job, TOP + number * ROW
    middle = top + ROW // 2 + 4
    name = facts.one_line(job.id)
    short = name if len(name) <= NAME_LETTERS else name[: NAME_LETTERS - 1] + "…"
    symbol = facts.look(job.status).symbol
    yield f"<g><title>{escape(_title(row))}</title>"
    yield f'<rect class="band" fill-opacity="0" x="0" y="{top}" width="{WIDTH}" height="{ROW}"/>'
    yield f'<text x="{LEFT - 8}" y="{middle}" text-anchor="end">{escape(short)} {symbol}</text>'
    for before, bar in zip((None, *row.bars), row.bars, strict=False):
        if before is not None:
            yield _wait(before, bar, top, drawn.length_s)
        yield _bar(bar, top, drawn.length_s)
    took = facts.took_s(job)
    if row.bars and took is not None:
        end = max(_x(row.bars[-1].end_s, drawn.length_s), LEFT + THINNEST)
        yield f'<text class="took" x="{end + 5:.1f}" y="{middle}">{duration(took)}</text>'
    yield "</g>"


def _bar(bar: Bar, top: int, length_s: float) -> str:
    begin = _x(bar.begin_s, length_s)
    width = max(_x(bar.end_s, length_s) - begin, THINNEST)
    colour = facts.look(bar.status).colour
    return (
        f'<rect class="bar {escape(bar.status)}" fill="{colour}" x="{begin}" y="{top + 4}"'
        f' width="{width:.1f}" height="{ROW - 8}" rx="2"/>'
    )


def _wait(before: Bar, after: Bar, top: int, length_s: float) -> str:
    y = top + ROW // 2
    return (
        f'<line class="wait" stroke="#6b7280" stroke-dasharray="2 3" y1="{y}" y2="{y}"'
        f' x1="{_x(before.end_s, length_s)}" x2="{_x(after.begin_s, length_s)}"/>'
    )


def _title(row: Row) -> str:
    tries = "; ".join(
        f"from {duration(bar.begin_s)} for {duration(bar.end_s - bar.begin_s)}: {bar.status}"
        for bar in row.bars
    )
    name = facts.one_line(row.job.id)
    return f"{name}: {facts.status_words(row.job)}" + (f" ({tries})" if tries else "")


def _x(at_s: float, length_s: float) -> float:
    return round(LEFT + at_s / length_s * (WIDTH - LEFT - RIGHT), 1)
