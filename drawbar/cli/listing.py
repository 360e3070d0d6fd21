"""`drawbar runs`: which runs there were."""

from pathlib import Path

from drawbar.cli.ages import moment
from drawbar.cli.connect import asking_jobs, with_now
from drawbar.cli.failures import say
from drawbar.cli.render.console import console
from drawbar.cli.render.objects import write_all
from drawbar.cli.render.tables import runs_table
from shared.ids import RunId
from shared.protocol.jobs import RunFilter
from shared.protocol.states import RunStatus
from shared.runtime import SystemRuntime


def list_runs(
    limit: int,
    *,
    name: str | None,
    status: RunStatus | None,
    since: str | None,
    before: int | None,
    server: str | None,
    data: Path | None,
    as_json: bool,
) -> None:
    """Those that match are listed; where there may be more, it says how to see them."""
    ask = RunFilter(
        limit=limit,
        name=name,
        status=status,
        since=None if since is None else moment("--since", since, SystemRuntime().now()),
        before=None if before is None else RunId(before),
    )
    found, now = asking_jobs(
        lambda jobs, runtime: with_now(jobs.list_runs(ask), runtime), server, data, only_looks=True
    )
    if as_json:
        write_all(found.runs)
        return
    is_narrowed = any(given is not None for given in (name, status, since, before))
    if found.runs:
        console().print(runs_table(found.runs, now))
        if len(found.runs) == limit and found.runs[-1].run_id > 1:
            say(f"older ones, if there are: --before {found.runs[-1].run_id}", prefix="")
    elif is_narrowed:
        print("no run matches")  # noqa: T201  # this is the output
    else:
        print("no runs yet; start one with: drawbar run FILE")  # noqa: T201  # this is the output
