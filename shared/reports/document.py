"""A run as Markdown, for mails, merge requests and terminals: its chart is of characters."""

import re
from collections.abc import Iterator
from typing import Final

from shared.protocol.jobs import JobView, RunView
from shared.reports import facts
from shared.reports.facts import Attempts
from shared.reports.timeline import Row, Timeline, timeline
from shared.words import count, duration

LISTED: Final = 100
CHARTED: Final = 40
EXPLAINED: Final = 20
CHART_WIDTH: Final = 50
NAME_WIDTH: Final = 24


def markdown(run: RunView, attempts: Attempts) -> str:
    """The whole report. Of many jobs it lists those that matter most, and says so."""
    return "\n".join([*_head(run), *_failures(run), *_chart(run, attempts), *_jobs(run)]) + "\n"


def _head(run: RunView) -> Iterator[str]:
    took = facts.took_s(run)
    yield f"# {facts.look(run.status).symbol} {_text(run.name)}: run {run.run_id} {run.status}"
    yield ""
    yield "| | |"
    yield "|---|---|"
    said = ", ".join(f"{number:,} {status}" for status, number in facts.counts(run))
    yield f"| Jobs | {len(run.jobs):,}: {said} |"
    yield f"| Took | {'—' if took is None else duration(took)} |"
    yield f"| Started | {facts.moment(run.started_at)} |"
    yield f"| Ended | {facts.moment(run.ended_at)} |"
    if run.stages:
        stages = " → ".join(f"{facts.look(s.status).symbol} {_text(s.name)}" for s in run.stages)
        yield f"| Stages | {stages} |"
    if run.retry_of is not None:
        yield f"| Follows | run {run.retry_of} (attempt {run.attempt}) |"
    if run.schedule is not None:
        yield f"| Schedule | {_text(run.schedule)} |"
    yield ""


def _failures(run: RunView) -> Iterator[str]:
    failed = facts.failures(run)
    if not failed:
        return
    yield "## What failed"
    yield ""
    for job in failed[:EXPLAINED]:
        why = _text(facts.reason_words(job.reason)) or "no reason is known"
        tries = f" after {job.tries} tries" if job.tries > 1 else ""
        yield f"- **{_text(job.id)}**: {_text(facts.status_words(job))}{tries}: {why}"
    if len(failed) > EXPLAINED:
        yield f"- and {count(len(failed) - EXPLAINED, 'other')}"
    yield ""


def _chart(run: RunView, attempts: Attempts) -> Iterator[str]:
    started = [job for job in run.jobs if job.attempts]
    if not started:
        return
    shown = facts.notable(started, CHARTED)
    drawn = timeline(run, shown, attempts)
    yield "## When"
    yield ""
    yield "```text"
    yield from (_line(row, drawn) for row in drawn.rows)
    end = duration(drawn.length_s)
    yield f"{'':<{NAME_WIDTH}} 0{end:>{CHART_WIDTH - 1}}"
    yield "```"
    yield ""
    if len(shown) < len(started):
        yield f"{len(shown)} of {count(len(started), 'job')} that ran are drawn."
        yield ""


def _line(row: Row, drawn: Timeline) -> str:
    cells = [" "] * CHART_WIDTH
    for number, bar in enumerate(row.bars):
        first = min(int(bar.begin_s / drawn.length_s * CHART_WIDTH), CHART_WIDTH - 1)
        last = min(int(bar.end_s / drawn.length_s * CHART_WIDTH), CHART_WIDTH - 1)
        if number:  # it waited for this try
            before = int(row.bars[number - 1].end_s / drawn.length_s * CHART_WIDTH)
            cells[before + 1 : first] = "·" * max(first - before - 1, 0)
        is_good = bar.status in ("success", "running", "deferred", "rescheduled")
        cells[first : last + 1] = ("█" if is_good else "▒") * (last - first + 1)
    name = facts.one_line(row.job.id).replace("`", "'")
    if len(name) > NAME_WIDTH:
        name = name[: NAME_WIDTH - 1] + "…"
    took = facts.took_s(row.job)
    said = "" if took is None else f" {duration(took)}"
    symbol = facts.look(row.job.status).symbol
    return f"{name:<{NAME_WIDTH}} {''.join(cells)} {symbol}{said}".rstrip()


def _jobs(run: RunView) -> Iterator[str]:
    listed = facts.notable(run.jobs, LISTED)
    yield "## Jobs"
    yield ""
    stage = " Stage |" if run.stages else ""
    yield f"| Job |{stage} Status | Exit | Tries | Took | Why |"
    yield f"|---|{'---|' if run.stages else ''}---|--:|--:|--:|---|"
    for job in listed:
        yield _job(job, has_stages=bool(run.stages))
    if len(listed) < len(run.jobs):
        yield ""
        yield f"{count(len(run.jobs) - len(listed), 'job')} of {len(run.jobs):,} not listed."


def _job(job: JobView, *, has_stages: bool) -> str:
    took = facts.took_s(job)
    cells = [
        _text(job.id),
        *([_text(job.stage or "")] if has_stages else []),
        f"{facts.look(job.status).symbol} {_text(facts.status_words(job))}",
        "" if job.exit_code is None else str(job.exit_code),
        str(job.tries) if job.tries else "",
        "" if took is None else duration(took),
        _text(facts.reason_words(job.reason)),
    ]
    return f"| {' | '.join(cells)} |"


# What would mean something here. Underlines within words and lone brackets do not: names that have
# them stay readable where the text is shown as it is.
_MARKS: Final = re.compile(r"([\\`*<>|~]|(?<!\w)_|_(?!\w)|\](?=[(\[])|&(?=[#\w]+;))")


def _text(text: str) -> str:
    """`text` that Markdown shows as it is, on one line."""
    return _MARKS.sub(r"\\\1", facts.one_line(text))
