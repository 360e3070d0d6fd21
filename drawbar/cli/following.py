"""Following a run by its events, also through an outage of the service that tells them."""

import asyncio
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass
from typing import Any, Final

from drawbar.cli.patience import Patience
from drawbar.cli.render.display import Display
from drawbar.cli.render.lines import stopped_sentence
from drawbar.cli.render.progress import Progress
from drawbar.cli.render.words import printable
from shared.errors import ServiceError
from shared.ids import AttemptId, JobId, RunId
from shared.protocol.states import FAILURES, JobStatus
from shared.runtime import Runtime
from shared.services import JobService

TAIL_LINES: Final = 10
TAIL_BYTES: Final = 8_192
MAX_TAILS: Final = 20  # of a run in which everything fails, the first failures tell enough
TICK_S: Final = 0.125  # of a terminal's picture
LOOK_S: Final = 1.0  # at what jobs are about, which events do not tell
MAX_LOOKED_AT: Final = 1_000  # jobs: a look at more costs the service too much


@dataclass(frozen=True, slots=True)
class Tail:
    """The last lines of a failed job's log."""

    job_id: JobId
    status: JobStatus
    lines: list[str]


async def watch(
    jobs: JobService,
    run_id: RunId,
    progress: Progress,
    display: Display,
    runtime: Runtime,
    besides: Sequence[Coroutine[Any, Any, None]] = (),
) -> list[Tail]:
    """The run has ended and the display has shown how; tails that it does not keep.

    What goes on `besides` ends with it; an error of those ends everything.
    """

    async def tick() -> None:
        while True:
            await runtime.sleep(TICK_S)
            display.tick()

    with display:
        async with asyncio.TaskGroup() as group:
            moving = [_look(jobs, run_id, progress, runtime), tick()] if display.moves else []
            others = [group.create_task(other) for other in (*besides, *moving)]
            tails = await _follow(jobs, run_id, progress, display, runtime)
            for other in others:
                other.cancel()
    return [] if display.keeps_tails else tails


async def _follow(
    jobs: JobService, run_id: RunId, progress: Progress, display: Display, runtime: Runtime
) -> list[Tail]:
    tails: list[Tail] = []
    patience = Patience(runtime, display.note)
    while not progress.status.is_ended:
        try:
            async for event in jobs.follow_events(run_id, after=progress.last_seq):
                patience.heard()
                step = progress.apply(event)
                if step is None:
                    if event.kind == "run.stopped":
                        display.note(stopped_sentence(event.facts))
                    continue
                display.show(step)
                if (
                    step.job.status in FAILURES
                    and event.attempt_id is not None
                    and len(tails) < MAX_TAILS
                ):
                    lines = await read_tail(jobs, run_id, step.job.id, event.attempt_id)
                    display.show_tail(step, lines)
                    tails.append(Tail(step.job.id, step.job.status, lines))
        except ServiceError as error:
            await patience.bear(error)
    return tails


async def _look(jobs: JobService, run_id: RunId, progress: Progress, runtime: Runtime) -> None:
    while len(progress.jobs) <= MAX_LOOKED_AT:
        await runtime.sleep(LOOK_S)
        if progress.running:
            try:
                progress.look(await jobs.show_run(run_id))
            except ServiceError as error:
                if not error.retryable:
                    raise


async def read_tail(
    jobs: JobService, run_id: RunId, job_id: JobId, attempt_id: AttemptId
) -> list[str]:
    """Up to TAIL_LINES last lines of that attempt's log, made harmless for a terminal."""
    size = 0
    for attempt in (await jobs.list_attempts(run_id, job_id)).attempts:
        if attempt.attempt_id == attempt_id:
            size = attempt.log_size_bytes
    offset = max(0, size - TAIL_BYTES)
    data = bytearray()
    async for piece in jobs.read_log(
        run_id, job_id, attempt=attempt_id, offset=offset, follow=False
    ):
        data += piece
    lines = bytes(data).decode("utf-8", "replace").splitlines()
    if offset and len(lines) > 1:
        lines = lines[1:]  # the first may be the end of one
    return [printable(line.expandtabs()) for line in lines[-TAIL_LINES:]]
