"""A picture of a chaos run as one HTML file: who was up, what was broken, which job ran where."""

import html
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import Final, NamedTuple

from faults.chaos.story import Story
from faults.chaos.verdict import Verdict
from faults.judging.entry import Entry

WIDTH: Final = 1_200
LEFT: Final = 150  # of the lanes' names
ROW: Final = 14
GAP: Final = 8
MAX_ROWS: Final = 40  # of one lane: with more jobs at a time, bars lie over each other
COLOURS: Final = {
    "up": "#9aa7b5", "frozen": "#6f8fd8", "fault": "#d9534f", "success": "#58a55c",
    "failed": "#e0a030", "unreported": "#b07cc6",
}  # fmt: skip
STYLE: Final = """
body { font: 14px system-ui, sans-serif; margin: 24px; color: #222; background: #fff; }
h1 { font-size: 18px; } table { border-collapse: collapse; margin: 12px 0; }
td, th { text-align: left; padding: 2px 12px 2px 0; vertical-align: top; }
.kept { color: #2f7d32; } .broken { color: #c62828; font-weight: 600; } .not { color: #777; }
svg text { font: 11px system-ui, sans-serif; fill: #444; }
rect:hover { stroke: #000; } .key span { margin-right: 16px; }
.key i { display: inline-block; width: 12px; height: 12px; margin-right: 4px; }
"""


class Bar(NamedTuple):
    start: float
    end: float
    colour: str
    says: str


def timeline(story: Story, verdicts: Sequence[Verdict]) -> str:
    """The page; it needs nothing from anywhere else."""
    end = max(story.took_s, 1.0)
    lanes = [*_processes(story, end), *_faults(story), *_jobs(story, end)]
    key = "".join(f'<span><i style="background:{c}"></i>{n}</span>' for n, c in COLOURS.items())
    title = html.escape(f"{story.plan.name}, seed {story.plan.seed}")
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{title}</title>'
        f"<style>{STYLE}</style><h1>{title}</h1>"
        f"<p>{html.escape(story.plan.description)}</p>{_table(verdicts)}"
        f'<p class="key">{key}</p>{_picture(lanes, end)}</html>\n'
    )


def _table(verdicts: Sequence[Verdict]) -> str:
    rows = []
    for v in verdicts:
        seen = ", ".join(f"{count:,} {what}" for what, count in v.seen.items())
        found = "".join(f"<br>{html.escape(breach)}" for breach in v.breaches[:10])
        rows.append(
            f'<tr><td>{v.promise.value}<td class="{v.word.split()[0]}">{v.word}'
            f"<td>{', '.join(v.invariants)}<td>{seen}{found}"
        )
    return f"<table><tr><th>promise<th>verdict<th>checks<th>looked at{''.join(rows)}</table>"


def _processes(story: Story, end: float) -> Iterator[tuple[str, list[Bar]]]:
    bars: dict[str, list[Bar]] = defaultdict(list)
    up: dict[str, Entry] = {}
    frozen: dict[str, float] = {}
    for entry in story.entries:
        match entry.op:
            case "up":
                up[entry.who] = entry
                bars[entry.who]  # a lane in order of appearance
            case "frozen":
                frozen[entry.who] = entry.at
            case "down" if entry.who in up:
                began = up.pop(entry.who)
                says = f"pid {began.facts['pid']}, {entry.facts['how']} at {entry.at:.2f} s"
                bars[entry.who].insert(0, Bar(began.at, entry.at, COLOURS["up"], says))
        if entry.op in ("thawed", "down") and entry.who in frozen:  # it may be killed as it is
            since = frozen.pop(entry.who)
            bars[entry.who].append(Bar(since, entry.at, COLOURS["frozen"], "frozen"))
    for who, began in up.items():
        bars[who].insert(0, Bar(began.at, end, COLOURS["up"], f"pid {began.facts['pid']}"))
    yield from bars.items()


def _faults(story: Story) -> Iterator[tuple[str, list[Bar]]]:
    bars: dict[str, list[Bar]] = defaultdict(list)
    for entry in story.entries:
        if entry.op == "fault":
            facts = entry.facts
            says = f"{facts['kind']}: {facts['says']}, {entry.at:.2f} s to {facts['until']:.2f} s"
            bar = Bar(entry.at, facts["until"], COLOURS["fault"], says)
            bars[f"{facts['kind']} {facts['target']}"].append(bar)
    for lane in sorted(bars):
        yield lane, bars[lane]


def _jobs(story: Story, end: float) -> Iterator[tuple[str, list[Bar]]]:
    exits = {e.facts["attempt"]: e for e in story.entries if e.op == "exit"}
    bars: dict[str, list[Bar]] = defaultdict(list)
    spawns = sorted((e for e in story.entries if e.op == "spawn"), key=lambda e: e.at)
    for entry in spawns:
        facts = entry.facts
        ended = exits.get(facts["attempt"])
        until = min(entry.at + 0.5, end) if ended is None else ended.at
        code = "unreported" if ended is None else str(ended.facts["exit_code"])
        colour = COLOURS["unreported" if ended is None else "success" if code == "0" else "failed"]
        says = f"{facts['run']}/{facts['job']} ({facts['kind']}), attempt {facts['attempt']}, "
        says += f"fence {facts['fence']}, exit {code}"
        bars[f"jobs of {entry.who.split('.')[0]}"].append(Bar(entry.at, until, colour, says))
    for lane in sorted(bars):
        yield lane, bars[lane]


def _picture(lanes: Iterable[tuple[str, list[Bar]]], end: float) -> str:
    scale = (WIDTH - LEFT) / end
    y, drawn = 24, []
    for name, bars in lanes:
        rows: list[float] = []  # until when each is taken
        for bar in bars:
            row = next((n for n, until in enumerate(rows) if until <= bar.start), None)
            if name in ("jobstore", "registry", "gateway") or not name.startswith("jobs"):
                row = 0
            if row is None:
                row = len(rows) if len(rows) < MAX_ROWS else MAX_ROWS - 1
            if row == len(rows):
                rows.append(0.0)
            rows[row] = bar.end
            width = max(1.5, (bar.end - bar.start) * scale)
            drawn.append(
                f'<rect x="{LEFT + bar.start * scale:.1f}" y="{y + row * (ROW - 2)}" '
                f'width="{width:.1f}" height="{ROW - 4}" fill="{bar.colour}">'
                f"<title>{html.escape(bar.says)}</title></rect>"
            )
        drawn.append(f'<text x="0" y="{y + 9}">{html.escape(name)}</text>')
        y += max(1, len(rows)) * (ROW - 2) + GAP
    step = next(s for s in (1, 2, 5, 10, 30, 60, 120, 300, 600, 3_600, 36_000) if end / s <= 20)
    for n in range(int(end / step) + 1):
        x = LEFT + n * step * scale
        drawn.insert(0, f'<line x1="{x:.1f}" y1="18" x2="{x:.1f}" y2="{y}" stroke="#e5e5e5"/>')
        drawn.append(f'<text x="{x:.1f}" y="12">{n * step} s</text>')
    return f'<svg width="{WIDTH + 20}" height="{y}" role="img">{"".join(drawn)}</svg>'
