"""`drawbar logs` and `drawbar events`: what is read as a stream."""

import asyncio
import json
import sys
from pathlib import Path
from typing import Final

from drawbar.cli.connect import job_service
from drawbar.cli.failures import say
from drawbar.cli.render.lines import clock
from drawbar.cli.render.words import count, one_line
from shared.errors import UnknownAttempt
from shared.ids import AttemptId, JobId, RunId
from shared.protocol.jobs import Event
from shared.protocol.states import JobStatus
from shared.services import JobService

PAGE: Final = 1_000


def print_log(
    run: int,
    job: str,
    *,
    attempt: str | None,
    follow: bool,
    timestamps: bool,
    server: str | None,
    data: Path | None,
) -> None:
    """The log's bytes are on stdout as they are; bytes that were lost are owned up to on stderr."""
    which = None if attempt is None else AttemptId(attempt)

    async def copy() -> str | None:
        async with job_service(server, data, only_looks=True, follows=follow) as jobs:
            if which is not None:
                known = (await jobs.list_attempts(RunId(run), JobId(job))).attempts
                if all(a.attempt_id != which for a in known):
                    raise UnknownAttempt(f"there is no attempt {attempt} of job {job}")
            pieces = jobs.read_log(
                RunId(run),
                JobId(job),
                attempt=which,
                offset=0,
                follow=follow,
                timestamps=timestamps,
            )
            async for piece in pieces:
                sys.stdout.buffer.write(piece)
                sys.stdout.buffer.flush()
            attempts = (await jobs.list_attempts(RunId(run), JobId(job))).attempts
            if not attempts:
                return await _why_empty(jobs, RunId(run), JobId(job))
        of = [a for a in attempts if a.attempt_id == which] if which else attempts[-1:]
        lost = sum(a.log_lost_bytes for a in of)
        return f"{count(lost, 'byte')} of this log never arrived" if lost else None

    if told := asyncio.run(copy()):
        say(told)


async def _why_empty(jobs: JobService, run_id: RunId, job_id: JobId) -> str | None:
    """Words about a job without attempts; None for one that has the log of an earlier run."""
    status = next(job.status for job in (await jobs.show_run(run_id)).jobs if job.id == job_id)
    if status is JobStatus.SUCCESS:
        return None
    if not status.is_ended:
        return f"job {one_line(job_id)} has not started yet: {status}"
    return f"job {one_line(job_id)} never started: {status}"


def print_events(
    run: int, *, follow: bool, server: str | None, data: Path | None, as_json: bool
) -> None:
    """One line for each event of the run, oldest first."""
    write = _write_object if as_json else _write_line

    async def copy() -> None:
        async with job_service(server, data, only_looks=True, follows=follow) as jobs:
            if follow:
                async for event in jobs.follow_events(RunId(run), after=0):
                    write(event)
                return
            after = 0
            while page := (await jobs.list_events(RunId(run), after=after, limit=PAGE)).events:
                for event in page:
                    write(event)
                after = page[-1].seq

    asyncio.run(copy())


def _write_object(event: Event) -> None:
    sys.stdout.write(event.model_dump_json() + "\n")
    sys.stdout.flush()


def _write_line(event: Event) -> None:
    facts = [f"{name}={_plain(value)}" for name, value in event.facts.items() if value is not None]
    if event.attempt_id is not None:
        facts.append(f"attempt={event.attempt_id}")
    job = one_line(event.job_id or "")
    line = f"{clock(event.at)}  {event.kind:<18}  {job:<16}  {' '.join(facts)}"
    sys.stdout.write(line.rstrip() + "\n")
    sys.stdout.flush()


def _plain(value: object) -> str:
    text = one_line(str(value)) if isinstance(value, str) else json.dumps(value)
    return json.dumps(text) if " " in text or not text else text
