"""Runs that are old enough to be forgotten, and what is left of them."""

import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from hashlib import sha256
from pathlib import Path
from typing import Any

from shared.ids import JobId, RunId
from shared.protocol import gateway as g
from shared.protocol.history import PruneReply, PruneRequest
from tests.support.jobstore import ANN, Hands, a_job

DAY_S = 86_400.0
LONG = b"a line of a log\n" * 10_000  # too long to travel inside the finish
TABLES = (
    *("run", "stage", "job", "edge", "attempt", "artifact", "event"),
    *("pruned_run", "pruned_log", "pruned_blob"),
)


async def body(data: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(data), 65_536):
        yield data[start : start + 65_536]


def an_entry(path: str, data: bytes) -> g.ArtifactEntry:
    return g.ArtifactEntry(path=path, size_bytes=len(data), sha256=sha256(data).hexdigest())


async def upload(hands: Hands, claim: g.Claim, data: bytes, path: str = "out") -> g.ArtifactEntry:
    entry = an_entry(path, data)
    ask = g.ArtifactUpload(
        attempt_id=claim.attempt_id, worker_id=ANN, fence=claim.fence, entry=entry
    )
    await hands.service.put_artifact(ask, body(data))
    return entry


async def stream_log(hands: Hands, claim: g.Claim, data: bytes) -> None:
    ask = g.LogChunk(
        attempt_id=claim.attempt_id,
        worker_id=ANN,
        fence=claim.fence,
        offset=0,
        size_bytes=len(data),
    )
    await hands.service.append_log(ask, body(data))


async def do(hands: Hands, output: bytes, *, exit_code: int = 0, log: bytes = LONG) -> None:
    """The next job runs, writes a long log and leaves `output`."""
    claim = await hands.start()
    await stream_log(hands, claim, log)
    entry = await upload(hands, claim, output)
    reply = await hands.finish(claim, exit_code, log=log, tail_offset=len(log), artifacts=(entry,))
    assert isinstance(reply, g.Receipt)


async def an_old_run(hands: Hands, output: bytes = b"old", **pipeline: Any) -> RunId:
    """It ended a hundred days ago."""
    run_id = await hands.submit(a_job("a"), **pipeline)
    await do(hands, output)
    hands.runtime.step_wall_clock(100 * DAY_S)
    return run_id


async def prune(
    hands: Hands, keep_s: float = 90 * DAY_S, *, name: str | None = None, is_dry: bool = False
) -> PruneReply:
    return await hands.service.prune(PruneRequest(keep_s=keep_s, name=name, is_dry=is_dry))


async def log_of(hands: Hands, run_id: RunId, job_id: str = "a") -> bytes:
    pieces = hands.service.read_log(run_id, JobId(job_id), attempt=None, offset=0, follow=False)
    return b"".join([piece async for piece in pieces])


async def output_of(hands: Hands, run_id: RunId, job_id: str = "a") -> bytes:
    pieces = hands.service.read_artifact(run_id, JobId(job_id), "out")
    return b"".join([piece async for piece in pieces])


def rows(folder: Path) -> dict[str, int]:
    """How many each table has, of those that have any."""
    with closing(sqlite3.connect(folder / "jobs.db")) as conn:
        counts = {t: conn.execute(f"SELECT count(*) FROM {t}").fetchone()[0] for t in TABLES}
    return {table: count for table, count in counts.items() if count}


def stored(folder: Path) -> list[str]:
    """Every file of a log or an artifact; a log with its times beside it is one."""
    root = folder / "files"
    found = {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()}
    return sorted(p for p in found if p.removesuffix(".times") not in found - {p})
