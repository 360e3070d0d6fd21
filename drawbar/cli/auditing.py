"""What `drawbar audit` does."""

import re
from dataclasses import asdict
from itertools import zip_longest
from pathlib import Path
from typing import Any, Final

import typer

from drawbar.cli.failures import Usage
from drawbar.cli.places import data_dir
from drawbar.cli.render.objects import write_json
from drawbar.cli.render.words import count, one_line
from jobstore.audit.audit import audit_all, audit_run
from jobstore.audit.finding import Audit, Finding, RunVerdict

HEAD: Final = re.compile(r"\d{1,18}\.[0-9a-f]{64}")


def print_audit(
    run: int | None, every: bool, expect: str | None, *, data: Path | None, as_json: bool
) -> int:
    """The exit code: 1 when something was found."""
    if (run is None) != every:
        raise Usage("say which run, or --all: drawbar audit 12, or drawbar audit --all")
    if expect is not None and not every:
        raise Usage("--expect is about the whole store: say --all, too")
    if expect is not None and not HEAD.fullmatch(expect):
        raise Usage(f"--expect takes the head that an audit printed; found {one_line(expect)!r}")
    place = data_dir(data)
    found = audit_all(place, expect) if run is None else audit_run(place, run)
    if as_json:
        write_json(_plain(found))
    else:
        typer.echo("\n".join(_lines(found)))
    return 0 if found.is_good else 1


def _plain(found: Audit) -> dict[str, Any]:
    return {
        "is_good": found.is_good,
        "head": found.head,
        "pruned": found.pruned,
        "findings": [_plain_finding(finding) for finding in found.findings],
        "runs": [
            {
                **asdict(run),
                "is_good": run.is_good,
                "findings": [_plain_finding(finding) for finding in run.findings],
            }
            for run in found.runs
        ],
    }


def _plain_finding(finding: Finding) -> dict[str, Any]:
    return {
        "event": finding.event,
        "job": finding.job,
        "what": finding.what,
        "remedy": finding.remedy,
    }


def _lines(found: Audit) -> list[str]:
    lines = [line for run in found.runs for line in _of_run(run)]
    if found.head is None:
        return lines
    lines += ["the store:", *_of_findings(found.findings)] if found.findings else []
    broken = sum(not run.is_good for run in found.runs)
    pruned = f", {found.pruned} pruned" if found.pruned else ""
    verdict = "all is well" if found.is_good else f"{broken} of them with findings"
    lines.append(f"{count(len(found.runs), 'run')}{pruned}: {verdict}")
    lines.append(f"head {found.head}")
    return lines


def _of_run(run: RunVerdict) -> list[str]:
    verdict = "good" if run.is_good else "BROKEN"
    facts = [
        run.status,
        count(run.jobs, "job"),
        count(run.events, "event"),
        count(run.receipts, "receipt"),
        count(run.files, "file"),
    ]
    if run.unchained:
        facts.append(f"{count(run.unchained, 'event')} from before the chain began")
    line = f"{verdict:6}  run {run.run_id}  {one_line(run.name)}  {', '.join(facts)}"
    return [line, *_of_findings(run.findings)]


def _of_findings(findings: list[Finding]) -> list[str]:
    """What, and once for several in a row what to do about it."""
    lines = []
    for finding, after in zip_longest(findings, findings[1:]):
        where = [f"event {finding.event}"] if finding.event is not None else []
        where += [f"job {one_line(finding.job)}"] if finding.job is not None else []
        lines.append(f"        {', '.join(where)}{': ' if where else ''}{one_line(finding.what)}")
        if after is None or after.remedy != finding.remedy:
            lines.append(f"          → {finding.remedy}")
    return lines
