"""A run as one HTML page that needs nothing else: no script, no font, no picture from elsewhere."""

from collections.abc import Iterator
from html import escape
from typing import Final

from shared.protocol.jobs import JobView, RunView
from shared.reports import facts
from shared.reports.facts import Attempts
from shared.reports.gantt import gantt
from shared.reports.timeline import timeline
from shared.words import count, duration

LISTED: Final = 1_000  # jobs in the table: a browser lays it out at once
CHARTED: Final = 200  # jobs in the chart: beyond this nobody finds a row
EXPLAINED: Final = 50

_STYLE: Final = """
:root { color-scheme: light dark; --back: #fff; --text: #1b1f24; --soft: #57606a;
  --edge: #d0d4da; --band: #f3f4f6; --good: #2b7a3d; --bad: #c4314b; --warn: #a86500;
  --busy: #0b7285; --idle: #6b7280; }
@media (prefers-color-scheme: dark) { :root { --back: #14171a; --text: #e6e8eb; --soft: #9aa4af;
  --edge: #353b42; --band: #1d2125; --good: #5bbf73; --bad: #ff7b8e; --warn: #e5a54b;
  --busy: #4dc4d8; --idle: #8b949e; } }
body { background: var(--back); color: var(--text); margin: 0 auto; max-width: 1100px;
  padding: 1.5rem; font: 15px/1.5 system-ui, sans-serif; overflow-wrap: anywhere; }
h1 { font-size: 1.5rem; margin: 0 0 .5rem; } h2 { font-size: 1.1rem; margin: 2rem 0 .5rem; }
.status { white-space: nowrap; font-weight: 600; }
.facts { display: flex; flex-wrap: wrap; gap: .5rem 2rem; margin: 0; }
.facts dt { color: var(--soft); font-size: .85rem; } .facts dd { margin: 0; }
.wide { overflow-x: auto; } .note { color: var(--soft); }
table { border-collapse: collapse; width: 100%; } td:first-child { min-width: 8rem; }
th, td { border-bottom: 1px solid var(--edge); padding: .3rem .8rem .3rem 0; text-align: left;
  vertical-align: top; }
th { color: var(--soft); font-weight: 500; font-size: .85rem; white-space: nowrap; }
.number { text-align: right; white-space: nowrap; font-variant-numeric: tabular-nums; }
.success { color: var(--good); fill: var(--good); }
.failed, .timeout, .precheck_failed, .postcheck_failed, .lost
  { color: var(--bad); fill: var(--bad); }
.cancelled, .retrying { color: var(--warn); fill: var(--warn); }
.running, .claimed { color: var(--busy); fill: var(--busy); }
.queued, .held, .blocked, .pending, .skipped { color: var(--idle); fill: var(--idle); }
svg { display: block; min-width: 900px; width: 100%; } svg text { fill: var(--text); }
svg .axis, svg .took { fill: var(--soft); font-size: 11px; } svg .grid { stroke: var(--edge); }
svg .wait { stroke: var(--idle); } svg g:hover .band { fill: var(--band); fill-opacity: 1; }
"""


def html(run: RunView, attempts: Attempts) -> str:
    """The whole page. Of many jobs it shows those that matter most, and says so."""
    title = escape(f"{facts.one_line(run.name)}: run {run.run_id} {run.status}")
    return "\n".join(
        [
            '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            # Should an escape be missing somewhere, nothing of it runs or is fetched.
            '<meta http-equiv="Content-Security-Policy"'
            " content=\"default-src 'none'; style-src 'unsafe-inline'\">",
            f"<title>{title}</title>\n<style>{_STYLE}</style>\n</head>\n<body>",
            *_head(run),
            *_failures(run),
            *_chart(run, attempts),
            *_jobs(run),
            "</body>\n</html>\n",
        ]
    )


def _head(run: RunView) -> Iterator[str]:
    yield f"<h1>{_text(run.name)} · run {run.run_id} {_status(run.status, run.status)}</h1>"
    took = facts.took_s(run)
    said = ", ".join(_status(s, f"{number:,} {s}") for s, number in facts.counts(run))
    pairs = [
        ("Jobs", f"{len(run.jobs):,}: {said}"),
        ("Took", "—" if took is None else duration(took)),
        ("Started", facts.moment(run.started_at)),
        ("Ended", facts.moment(run.ended_at)),
    ]
    if run.stages:
        stages = " → ".join(_status(s.status, _text(s.name)) for s in run.stages)
        pairs.append(("Stages", stages))
    if run.retry_of is not None:
        pairs.append(("Follows", f"run {run.retry_of} (attempt {run.attempt})"))
    if run.schedule is not None:
        pairs.append(("Schedule", _text(run.schedule)))
    listed = "".join(f"<div><dt>{name}</dt><dd>{value}</dd></div>\n" for name, value in pairs)
    yield f'<dl class="facts">\n{listed}</dl>'


def _failures(run: RunView) -> Iterator[str]:
    failed = facts.failures(run)
    if not failed:
        return
    yield "<h2>What failed</h2>\n<ul>"
    for job in failed[:EXPLAINED]:
        why = _text(facts.reason_words(job.reason)) or "no reason is known"
        tries = f" after {job.tries} tries" if job.tries > 1 else ""
        status = _status(job.status, _text(facts.status_words(job)))
        yield f"<li><b>{_text(job.id)}</b> {status}{tries}: {why}</li>"
    if len(failed) > EXPLAINED:
        yield f"<li>and {count(len(failed) - EXPLAINED, 'other')}</li>"
    yield "</ul>"


def _chart(run: RunView, attempts: Attempts) -> Iterator[str]:
    started = [job for job in run.jobs if job.attempts]
    if not started:
        return
    shown = facts.notable(started, CHARTED)
    yield "<h2>When</h2>"
    if len(shown) < len(started):
        yield (
            f'<p class="note">The chart shows {len(shown)} of the {len(started):,} jobs that ran:'
            " those that did not succeed first, then those that took longest.</p>"
        )
    yield f'<div class="wide">\n{gantt(timeline(run, shown, attempts))}\n</div>'


def _jobs(run: RunView) -> Iterator[str]:
    listed = facts.notable(run.jobs, LISTED)
    yield "<h2>Jobs</h2>"
    if len(listed) < len(run.jobs):
        yield (
            f'<p class="note">{len(listed):,} of {len(run.jobs):,} jobs are listed: those that did'
            " not succeed first, then those that took longest.</p>"
        )
    stage = "<th>Stage</th>" if run.stages else ""
    numbers = "".join(f'<th class="number">{name}</th>' for name in ("Exit", "Tries", "Took"))
    yield '<div class="wide">\n<table>\n<thead>'
    yield f"<tr><th>Job</th>{stage}<th>Status</th>{numbers}<th>Why</th></tr>\n</thead>\n<tbody>"
    for job in listed:
        yield _job(job, has_stages=bool(run.stages))
    yield "</tbody>\n</table>\n</div>"


def _job(job: JobView, *, has_stages: bool) -> str:
    took = facts.took_s(job)
    numbers = (
        "" if job.exit_code is None else str(job.exit_code),
        str(job.tries) if job.tries else "",
        "" if took is None else duration(took),
    )
    cells = [
        f"<td>{_text(job.id)}</td>",
        f"<td>{_text(job.stage or '')}</td>" if has_stages else "",
        f"<td>{_status(job.status, _text(facts.status_words(job)))}</td>",
        *(f'<td class="number">{number}</td>' for number in numbers),
        f"<td>{_text(facts.reason_words(job.reason))}</td>",
    ]
    return f"<tr>{''.join(cells)}</tr>"


def _status(status: str, words: str) -> str:
    """`words`, already escaped, in the status' colour and behind its symbol."""
    seen = facts.look(status)
    return f'<span class="status {escape(status)}">{seen.symbol} {words}</span>'


def _text(text: str) -> str:
    return escape(facts.one_line(text))
