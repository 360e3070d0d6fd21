"""Aligned tables of runs, jobs, attempts, artifacts and workers."""

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import Final

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderableType
from rich.padding import Padding
from rich.segment import Segment, Segments
from rich.table import Table
from rich.text import Text

from drawbar.cli.render import words
from drawbar.cli.render.names import SHORTEST_NAME, Name
from drawbar.cli.render.statuses import Look, in_order, look
from drawbar.cli.render.waits import phase_words, wait_words
from shared.ids import RunId
from shared.protocol.jobs import JobArtifact, JobView, Reason, RunSummary, RunView
from shared.protocol.registry import WorkerView
from shared.protocol.states import FAILURES, Desired, JobStatus

LISTED_JOBS: Final = 50  # a summary of more jobs lists only those that did not succeed
# What the messages of these say in other words.
SAID_ANYWAY: Final = frozenset(
    {
        *("exit_code", "signal", "dependency", "stage", "nothing_failed", "fail_fast"),
        *("operator", "resume", "marked", "refused", "precheck", "postcheck"),
    }
)
NARROWEST_REMARK: Final = 32
GAP: Final = 2
WIDER_THAN_ANY: Final = 10_000


def status_text(status: str) -> Text:
    symbol, style = look(status)
    return Text(f"{symbol} {status}", style=style)


def counts_text(counts: Iterable[tuple[str, int]]) -> Text:
    """`✔ 3  ✘ 1`, each in its colour; statuses that look the same are one number."""
    numbers: dict[Look, int] = {}
    for status, n in counts:
        numbers[look(status)] = numbers.get(look(status), 0) + n
    parts = [Text(f"{symbol} {n}", style=style) for (symbol, style), n in numbers.items()]
    return Text("  ").join(parts)


def reason_text(reason: Reason | None) -> Text:
    """Who did what; of a job's own failures the message is enough."""
    if reason is None:
        return Text("")
    said = words.one_line(reason.message) or reason.what
    if reason.what not in said and reason.what not in SAID_ANYWAY:
        said = f"{reason.what}: {said}"
    return Text(said if reason.who == "job" else f"{said} ({reason.who})")


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


class JobsTable:
    """A row for each job; remarks have a column of their own or, where that is tight, lines."""

    def __init__(self, run_id: RunId, jobs: Sequence[JobView], now: datetime) -> None:
        self._jobs = jobs
        self._now = now
        self._remarks = [_remark(run_id, job) for job in jobs]

    def __rich_console__(
        self, console: Console, options: ConsoleOptions
    ) -> Iterator[RenderableType]:
        rest = options.max_width - console.measure(self._table(), options=options).maximum
        widest = max((remark.cell_len for remark in self._remarks), default=0)
        if rest >= min(widest + GAP, NARROWEST_REMARK):
            yield self._table(self._remarks)
            return
        yield from with_lines(
            self._table(), [[remark] for remark in self._remarks], console, options
        )

    def _table(self, remarks: Sequence[Text] = ()) -> Table:
        has_stages = any(job.stage is not None for job in self._jobs)
        made = table(
            "job",
            *(["stage"] if has_stages else []),
            "status",
            "exit",
            "tries",
            "duration",
            *(["reason"] if remarks else []),
            right=("exit", "tries", "duration"),
            names=("job", "stage"),
        )
        for n, job in enumerate(self._jobs):
            exit_code = "" if job.exit_code is None else str(job.exit_code)
            status = status_text(job.status)
            if job.allow_failure and job.status in FAILURES:
                status.append(" (allowed)", style="dim")
            made.add_row(
                Name(job.id),
                *([Name(job.stage or "")] if has_stages else []),
                status,
                exit_code,
                str(job.tries) if job.tries else "",
                "" if _was_not_run(job) else words.span(job.started_at, job.ended_at, self._now),
                *([remarks[n]] if remarks else []),
            )
        return kept_whole(made, "status", "exit", "tries", "duration")


def _remark(run_id: RunId, job: JobView) -> Text:
    """What a job waits for or does while it has not ended, else why it ended so."""
    if job.status is JobStatus.HELD:
        return Text(wait_words(run_id, job.id, job.held_for))
    if job.status is JobStatus.RUNNING:
        return Text(phase_words(job.phase))
    if job.marked_by is not None and (job.reason is None or not job.reason.message):
        return Text(f"taken for a success by {words.one_line(job.marked_by)}")
    if job.reason is None and _was_not_run(job):
        return Text("carried over", style="dim")
    return reason_text(job.reason)


def _was_not_run(job: JobView) -> bool:
    """A success of an earlier run that this one goes on from, or one by a person's word."""
    return job.status is JobStatus.SUCCESS and job.attempts == 0


def runs_table(runs: Sequence[RunSummary], now: datetime) -> Table:
    made = table("run", "name", "status", "jobs", "started", "duration", right=("run", "duration"))
    for run in runs:
        made.add_row(
            str(run.run_id),
            Text(words.one_line(run.name)),
            status_text(run.status),
            counts_text(in_order(run.counts)),
            words.ago(run.started_at or run.created_at, now),
            words.span(run.started_at, run.ended_at, now),
        )
    return made


def artifacts_table(artifacts: Sequence[JobArtifact]) -> Table:
    made = table("job", "size", "sha256", "path", right=("size",))
    for found in artifacts:
        made.add_row(
            Text(words.one_line(found.job_id)),
            words.size(found.artifact.size_bytes),
            found.artifact.sha256[:12],
            Text(words.one_line(found.artifact.path)),
        )
    return made


def workers_table(workers: Sequence[WorkerView]) -> Table:
    made = table(
        "worker", "status", "busy", "labels", "last report", "host", "wish", right=("busy",)
    )
    for worker in workers:
        wish = ""
        if worker.desired is not Desired.RUN:
            wish = f"{worker.desired}: {worker.reason}" if worker.reason else str(worker.desired)
        made.add_row(
            Text(words.one_line(worker.name)),
            status_text(worker.status),
            f"{len(worker.attempts)}/{worker.slots}",
            Text(" ".join(f"{k}={v}" for k, v in sorted(worker.labels.items()))),
            "just now" if worker.silent_s < 2 else f"{words.duration(worker.silent_s)} ago",
            Text(f"{words.one_line(worker.host)}:{worker.pid}"),
            Text(words.one_line(wish)),
        )
    return made


def headline(run: RunView | RunSummary, now: datetime) -> Text:
    """`✔ release  run 12  success in 4.2 s  ✔ 5`."""
    symbol, style = look(run.status)
    text = Text.assemble(
        (f"{symbol} ", style), (words.one_line(run.name), "bold"), f"  run {run.run_id}  "
    )
    took = words.span(run.started_at, run.ended_at, now)
    text.append(run.status, style=style)
    if took:
        text.append(f" in {took}" if run.ended_at else f" for {took}")
    if run.retry_of is not None:
        text.append(f", a retry of run {run.retry_of}", style="dim")
    return text.append("  ").append_text(counts_text(in_order(run.counts)))


def worth_listing(jobs: Sequence[JobView]) -> list[JobView]:
    """All jobs while they are few, else those that did not succeed."""
    if len(jobs) <= LISTED_JOBS:
        return list(jobs)
    return [job for job in jobs if job.status is not JobStatus.SUCCESS]
