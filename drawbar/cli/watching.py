"""`drawbar show`: a run as it is, or watched until it has ended."""

import asyncio
import sys
from functools import partial
from pathlib import Path

from drawbar.cli.connect import job_service
from drawbar.cli.failures import say
from drawbar.cli.following import watch
from drawbar.cli.patience import Patience
from drawbar.cli.render.console import console
from drawbar.cli.render.display import display_for
from drawbar.cli.render.objects import run_object, write_json
from drawbar.cli.render.progress import Progress
from drawbar.cli.render.times import notifications_table
from drawbar.cli.summary import print_summary, summary
from shared.ids import RunId
from shared.protocol.states import RunStatus
from shared.runtime import SystemRuntime


def show_run(
    run: int, *, follow: bool, server: str | None, data: Path | None, as_json: bool
) -> int:
    """The run is on stdout; the exit code."""
    return asyncio.run(_show(RunId(run), follow, server, data, as_json))


async def _show(
    run_id: RunId, follow: bool, server: str | None, data: Path | None, as_json: bool
) -> int:
    runtime = SystemRuntime()
    stream = sys.stderr if as_json else sys.stdout
    async with job_service(server, data, only_looks=True, follows=follow) as jobs:
        patience = Patience(runtime, say)
        look = partial(jobs.show_run, run_id)
        view = await (patience.ask(look) if follow else look())
        if follow and not view.status.is_ended:
            progress = Progress(job.id for job in view.jobs)
            display = display_for(stream, progress, runtime.now)
            tails = await watch(jobs, run_id, progress, display, runtime)
            view = await patience.ask(look)
            if not as_json:
                print_summary(view, tails, stream, runtime.now())
        elif not as_json:
            console().print(summary(view, runtime.now()))
        told = (await jobs.list_notifications(run_id)).notifications
    if as_json:
        messages = {"notifications": [n.model_dump(mode="json") for n in told]} if told else {}
        write_json(run_object(view) | messages)
    elif told:
        console().print()
        console().print(notifications_table(told))
    return 1 if follow and view.status is not RunStatus.SUCCESS else 0
