"""`drawbar logs` and `drawbar events`: what is read as a stream."""

import asyncio
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from drawbar.cli.connect import job_service
from drawbar.cli.failures import say
from drawbar.cli.render.lines import clock
from drawbar.cli.render.words import count, duration, one_line
from shared.errors import UnknownAttempt
from shared.ids import AttemptId, JobId, RunId
from shared.protocol.gateway import Outcome
from shared.protocol.jobs import AttemptView, Event
from shared.protocol.states import JobStatus
from shared.reports.facts import waited_afterwards
from shared.services import JobService

PAGE: Final = 1_000
DONE_AGAIN: Final = (Outcome.DRAINED, Outcome.PREEMPTED, Outcome.LOST)  # from where it had begun


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
    """The log's bytes are on stdout as they are; on stderr is where the job waited meanwhile, and
    how many bytes were lost."""
    run_id, job_id = RunId(run), JobId(job)

    async def print_part(jobs: JobService, which: AttemptId | None, *, grows: bool) -> None:
        pieces = jobs.read_log(
            run_id, job_id, attempt=which, offset=0, follow=grows, timestamps=timestamps
        )
        async for piece in pieces:
            sys.stdout.buffer.write(piece)
            sys.stdout.buffer.flush()

    async def parts_of(jobs: JobService) -> Sequence[AttemptView]:
        attempts = (await jobs.list_attempts(run_id, job_id)).attempts
        if attempt is None:
            return latest_try(attempts)
        if not (found := [a for a in attempts if a.attempt_id == attempt]):
            raise UnknownAttempt(f"there is no attempt {attempt} of job {job}")
        return found

    async def copy() -> str | None:
        async with job_service(server, data, only_looks=True, follows=follow) as jobs:
            printed = 0
            while printed + 1 < len(parts := await parts_of(jobs)):
                part, following = parts[printed : printed + 2]
                await print_part(jobs, part.attempt_id, grows=False)
                say(_wait_between(part, following), prefix="")
                printed += 1
            # Followed, the latest one is followed by each that comes later.
            which = None if attempt is None else AttemptId(attempt)
            await print_part(jobs, which, grows=follow)
            parts = await parts_of(jobs)
            if not parts:
                return await _why_empty(jobs, run_id, job_id)
        lost = sum(part.log_lost_bytes for part in parts)
        return f"{count(lost, 'byte')} of this log never arrived" if lost else None

    if told := asyncio.run(copy()):
        say(told)


def latest_try(attempts: Sequence[AttemptView]) -> list[AttemptView]:
    """The latest attempt that ran; before it, in order, those after which its job waited and then
    went on in the same try."""
    ran = [attempt for attempt in attempts if attempt.started_at is not None]
    parts = ran[-1:]
    for earlier in reversed(ran[:-1]):
        if waited_afterwards(earlier):
            parts.insert(0, earlier)
        elif earlier.outcome not in DONE_AGAIN:
            break
    return parts


def _wait_between(part: AttemptView, following: AttemptView) -> str:
    began, ended = part.ended_at, following.started_at
    assert began is not None, "it has reported"
    assert ended is not None, "it has begun"
    waited = duration((ended - began).total_seconds())
    return f"[drawbar] {part.outcome} at {clock(began)}, went on after {waited}"


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
