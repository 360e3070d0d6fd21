"""Workers as people see them: all of them in a table, or everything about one."""

from collections.abc import Iterator, Sequence
from datetime import datetime

from rich.console import Console
from rich.table import Table
from rich.text import Text

from drawbar.cli.render import words
from drawbar.cli.render.columns import table
from drawbar.cli.render.tables import status_text
from shared.protocol.registry import Finding, Told, WorkerDetails, WorkerView
from shared.protocol.states import Desired


def workers_table(workers: Sequence[WorkerView]) -> Table:
    made = table(
        "worker", "status", "busy", "labels", "last report", "host", "notes", right=("busy",)
    )
    for worker in workers:
        made.add_row(
            Text(words.one_line(worker.name)),
            status_text(worker.status),
            _busy(worker),
            Text(_labels(worker)),
            _last_report(worker),
            Text(f"{words.one_line(worker.host)}:{worker.pid}"),
            Text("; ".join(_notes(worker))),
        )
    return made


def print_worker(details: WorkerDetails, console: Console) -> None:
    """Everything about the worker is on the console."""
    worker = details.worker
    facts = table("worker", "")
    facts.show_header = False
    for name, value in (
        ("worker", Text(words.one_line(worker.name), style="bold")),
        ("status", status_text(worker.status)),
        ("wish", Text(_wish(worker) or "run")),
        ("slots", Text(f"{worker.slots}, {_busy(worker)} taken{_if_set(worker)}")),
        ("labels", Text(_labels(worker))),
        ("host", Text(f"{words.one_line(worker.host)}, pid {worker.pid}")),
        ("version", Text(f"{words.one_line(worker.version)}, incarnation {worker.incarnation}")),
        ("since", Text(_at(worker.enrolled_at))),
        ("last report", _last_report(worker)),
        ("attempts", Text(" ".join(worker.attempts))),
    ):
        facts.add_row(name, value)
    console.print(facts)
    if worker.health:
        console.print()
        console.print(findings_table(worker.health))
    if details.told:
        console.print()
        console.print(_told(details.told))


def _busy(worker: WorkerView) -> str:
    """A worker that has not reported yet has no free slots to show, and no attempts either."""
    taken = max(0, worker.slots - worker.free_slots) if worker.attempts else 0
    return f"{taken}/{worker.slots}"


def _labels(worker: WorkerView) -> str:
    return words.one_line(" ".join(f"{k}={v}" for k, v in sorted(worker.labels.items())))


def _if_set(worker: WorkerView) -> str:
    return "; set by an operator" if worker.is_set else ""


def _last_report(worker: WorkerView) -> Text:
    if worker.silent_s < 2:
        return Text("just now")
    ago = f"{words.duration(worker.silent_s)} ago"
    return Text(f"{ago}: late", style="yellow") if worker.is_late else Text(ago)


def _notes(worker: WorkerView) -> Iterator[str]:
    if wish := _wish(worker):
        yield wish
    for finding in worker.health:
        if not finding.is_good:
            yield words.one_line(f"unfit: {finding.name}: {finding.says}")


def _wish(worker: WorkerView) -> str:
    """`pause by ann at …, until …: looking at its disk`; nothing when it may run."""
    if worker.desired is Desired.RUN:
        return ""
    said = worker.desired.value
    if worker.by:
        said += f" by {worker.by}"
    if worker.since is not None:
        said += f" at {_at(worker.since)}"
    if worker.until is not None:
        said += f", until {_at(worker.until)}"
    return words.one_line(f"{said}: {worker.reason}" if worker.reason else said)


def findings_table(findings: Sequence[Finding]) -> Table:
    made = table("check", "", "found")
    for finding in findings:
        good = Text("✔ good", style="green") if finding.is_good else Text("✘ bad", style="red")
        made.add_row(Text(words.one_line(finding.name)), good, Text(words.one_line(finding.says)))
    return made


def _told(told: Sequence[Told]) -> Table:
    made = table("when", "by", "what", "for", "reason")
    for entry in told:
        made.add_row(
            _at(entry.at),
            Text(words.one_line(entry.by)),
            Text(words.one_line(entry.what)),
            "" if entry.for_s is None else words.duration(entry.for_s),
            Text(words.one_line(entry.reason)),
        )
    return made


def _at(moment: datetime) -> str:
    return f"{moment.astimezone():%Y-%m-%d %H:%M:%S}"
