"""Running a pipeline before a person's eyes. For `drawbar run`."""

import asyncio
import os
import shlex
import sys
from collections.abc import Coroutine, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from drawbar.cli.failures import INTERRUPTED, Interrupted, Usage
from drawbar.cli.following import watch
from drawbar.cli.notifications import Telling
from drawbar.cli.patience import Patience
from drawbar.cli.pipelines import Start
from drawbar.cli.render.display import display_for
from drawbar.cli.render.progress import Progress
from drawbar.cli.rules import Rules
from shared.daemon import Signals, listening_to_signals, until
from shared.ids import JobId, RunId
from shared.protocol.jobs import CancelRequest, RunView
from shared.protocol.states import RunStatus
from shared.runtime import Runtime, SystemRuntime
from shared.services import JobService


@dataclass(frozen=True, slots=True)
class Wishes:
    """How a pipeline is to be run, and shown."""

    file: Path
    data: Path | None
    server: str | None
    slots: int | None
    labels: tuple[str, ...]
    rules: Rules  # of the worker that runs it here
    told: Telling  # how people are told of its end
    as_json: bool

    @property
    def stream(self) -> TextIO:
        """Where progress goes: stdout is the object's alone when one is asked for."""
        return sys.stderr if self.as_json else sys.stdout


def run_pipeline(start: Start, wishes: Wishes) -> int:
    """The pipeline ran to its end and was shown; the exit code. Interrupted: it was killed.

    Usage: no worker of the run can run one of its jobs.
    """
    return asyncio.run(_run(start, wishes, SystemRuntime()))


async def _run(start: Start, wishes: Wishes, runtime: Runtime) -> int:
    async def hurry() -> None:
        await signals.hurry.wait()
        again = shlex.join(["drawbar", "run", str(wishes.file), "--resume", "RUN"])
        hint = "" if wishes.server else f"; go on with: {again} ('drawbar runs' tells its number)"
        raise Interrupted(f"killed before the run had ended{hint}")

    place = _run_here if wishes.server is None else _run_there
    with listening_to_signals() as signals:
        async with asyncio.TaskGroup() as group:
            impatience = group.create_task(hurry(), name="hurry")
            view = await place(start, wishes, runtime, signals)
            impatience.cancel()
        if signals.stop.is_set():
            return INTERRUPTED
    return 0 if view.status is RunStatus.SUCCESS else 1


async def _run_here(start: Start, wishes: Wishes, runtime: Runtime, signals: Signals) -> RunView:
    from drawbar.cli.deciding import open_to_others
    from drawbar.cli.holding import held_for_run
    from drawbar.cli.labels import check_requires, check_slots, worker_labels
    from drawbar.cli.reaching import own_machine
    from drawbar.cli.runlog import logging_beside
    from drawbar.cli.telling import telling
    from drawbar.embedded import Embedded
    from worker.environment import shell_env
    from worker.machine import default_slots

    labels = worker_labels(wishes.labels)
    slots = wishes.slots or default_slots()
    jobs = [job for job in start.pipeline.jobs if job.id not in start.skip]
    check_requires(jobs, labels)
    check_slots(jobs, slots)
    async with AsyncExitStack() as stack:
        data = await stack.enter_async_context(held_for_run(wishes.data, runtime, signals))
        stack.enter_context(logging_beside(data, runtime))
        outside = own_machine(runtime)
        embedded = Embedded(
            data,
            runtime,
            slots=slots,
            base_dir=Path.cwd(),
            job_env=shell_env(os.environ),
            labels=labels,
            security=wishes.rules.security,
            plugin_dirs=wishes.rules.plugin_dirs,
            images=wishes.rules.images,
            docker=wishes.rules.docker,
            outside=outside,
            is_warm=wishes.rules.is_warm,
        )
        try:
            await embedded.start()
            async with (
                telling(embedded.jobs, start.pipeline, wishes.told, data, runtime) as teller,
                open_to_others(data, embedded.jobs, runtime) as window,
            ):
                outside.doorstep = window.url
                run_id = await embedded.submit(start.pipeline, skip=start.skip, resume=start.resume)
                ended = asyncio.Event()
                view = await _show(
                    embedded.jobs,
                    run_id,
                    start,
                    wishes,
                    runtime,
                    signals,
                    [until(ended, [embedded])],
                )
                embedded.forget()
                await teller.finish(run_id, wishes.stream)
        finally:
            await embedded.stop()
    return view


async def _run_there(start: Start, wishes: Wishes, runtime: Runtime, signals: Signals) -> RunView:
    from drawbar.cli.connect import job_service

    if wishes.labels:
        raise Usage("--label is for a run here: the workers of --server have their own")
    async with job_service(wishes.server, wishes.data) as jobs:
        run_id = (await jobs.submit(start.request(runtime.new_id()))).run_id
        return await _show(jobs, run_id, start, wishes, runtime, signals)


async def _show(
    jobs: JobService,
    run_id: RunId,
    start: Start,
    wishes: Wishes,
    runtime: Runtime,
    signals: Signals,
    besides: Sequence[Coroutine[Any, Any, None]] = (),
) -> RunView:
    """The run has ended, and everything about it was said."""
    progress = Progress(JobId(job.id) for job in start.pipeline.jobs)
    display = display_for(wishes.stream, progress, runtime.now)
    patience = Patience(runtime, display.note)

    async def cancel() -> None:
        await signals.stop.wait()
        display.note("cancelling the run; Ctrl-C again kills what still runs")
        ask = CancelRequest(run_id=run_id, reason="interrupted")
        await patience.ask(lambda: jobs.cancel(ask))

    tails = await watch(jobs, run_id, progress, display, runtime, [cancel(), *besides])
    view = await patience.ask(lambda: jobs.show_run(run_id))
    if wishes.as_json:
        from drawbar.cli.render.objects import run_object, write_json

        write_json(run_object(view))
    else:
        from drawbar.cli.summary import print_summary

        file = wishes.file if wishes.server is None else None
        print_summary(view, tails, wishes.stream, runtime.now(), file=file)
    return view
