"""What people decide about single jobs: approvals, marks, cancellations.

A run of `drawbar run` is in that process alone. While it lasts, the process listens on a socket in
the data directory, so that another terminal can decide, or ask where it may look; afterwards its
files are opened directly.
"""

import asyncio
import getpass
import json
import os
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from drawbar.cli.connect import job_service
from drawbar.cli.places import data_dir
from drawbar.cli.window import Window
from shared.errors import BadRequest, ServiceError, Unavailable, from_wire, to_wire
from shared.protocol.jobs import ApproveRequest, CancelRequest, MarkRequest
from shared.protocol.questions import AnswerRequest
from shared.runtime import Runtime
from shared.services import WholeJobService

if TYPE_CHECKING:
    from jobstore.service import JobStoreService

Decision = ApproveRequest | MarkRequest | CancelRequest | AnswerRequest

SOCKET: Final = "run.sock"
ANSWER_S: Final = 10.0
MAX_LINE: Final = 65_536
LOOK: Final = "Look"  # asks for the URL at which the run can be looked at


def decide(ask: Decision, server: str | None, data: Path | None) -> None:
    """It is so. Raises what the job service raised."""
    asyncio.run(_decide(ask, server, data))


def who() -> str:
    """The name that goes with a decision."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # the user of a container may have no name
        return f"user {os.getuid()}"


async def _decide(ask: Decision, server: str | None, data: Path | None) -> None:
    if await told_a_run_here(ask, server, data):
        return
    async with job_service(server, data, only_looks=True) as jobs:
        await carry_out(jobs, ask)


async def carry_out(jobs: WholeJobService, ask: Decision) -> None:
    """It is so."""
    if isinstance(ask, ApproveRequest):
        await jobs.approve(ask)
    elif isinstance(ask, MarkRequest):
        await jobs.mark(ask)
    elif isinstance(ask, AnswerRequest):
        await jobs.answer(ask)
    else:
        await jobs.cancel(ask)


@asynccontextmanager
async def open_to_others(
    data: Path, jobs: "JobStoreService", runtime: Runtime
) -> AsyncIterator[Window]:
    """Other terminals of this user can look at `jobs` and decide. The caller holds `data`."""
    window = Window(data, jobs, runtime)
    with _short_path(data) as path:
        _remove(path)  # of a process that was killed
        answer = partial(_answer, jobs, window)
        server = await asyncio.start_unix_server(answer, path, limit=MAX_LINE)
        os.chmod(path, 0o600)
    try:
        yield window
    finally:
        server.close()
        _remove(str(data / SOCKET))
        await window.close()


async def where_a_run_is_seen(data: Path) -> str | None:
    """The URL at which the `drawbar run` of that data directory can be looked at; None: none is."""
    answer = await _asked(data, {"kind": LOOK})
    return None if answer is None else str(answer["url"])


async def told_a_run_here(ask: Decision, server: str | None, given: Path | None) -> bool:
    """Whether a `drawbar run` works in the data directory; then it has done what it was asked."""
    if server is not None or os.environ.get("DRAWBAR_TOKEN"):
        return False
    body = {"kind": type(ask).__name__, "ask": ask.model_dump(mode="json")}
    return await _asked(data_dir(given), body) is not None


async def _asked(data: Path, body: Mapping[str, object]) -> dict[str, object] | None:
    """What the `drawbar run` of that data directory answered; None: none works there."""
    try:
        with _short_path(data) as path:
            reader, writer = await asyncio.open_unix_connection(path, limit=MAX_LINE)
    except OSError:  # none works there, or one was killed
        return None
    try:
        writer.write(json.dumps(body).encode() + b"\n")
        async with asyncio.timeout(ANSWER_S):
            answer = json.loads(await reader.readline() or b"null")
    except (OSError, TimeoutError) as error:
        raise Unavailable(f"the 'drawbar run' of {data} does not answer") from error
    finally:
        writer.close()
    if answer is None:
        raise Unavailable(f"the 'drawbar run' of {data} ended before it answered")
    if "code" in answer:
        raise from_wire(answer["code"], answer["message"], answer["facts"])
    return dict(answer)


async def _answer(
    jobs: "JobStoreService",
    window: Window,
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
) -> None:
    """One question for each connection; an empty object is a yes."""
    answer: dict[str, object] = {}
    with suppress(OSError, TimeoutError, ValueError):  # gone, silent, or no decision at all
        async with asyncio.timeout(ANSWER_S):
            try:
                body = json.loads(await reader.readline())
                if body["kind"] == LOOK:
                    answer["url"] = await window.url()
                else:
                    await carry_out(jobs, _read(body))
            except ServiceError as error:
                answer = to_wire(error)
            writer.write(json.dumps(answer).encode() + b"\n")
            await writer.drain()
    writer.close()


def _read(body: dict[str, Any]) -> Decision:
    """ValueError: not what this version of the command sends."""
    for kind in (ApproveRequest, MarkRequest, CancelRequest, AnswerRequest):
        if body["kind"] == kind.__name__:
            return kind.model_validate(body["ask"])
    raise BadRequest(f"a 'drawbar run' cannot be asked for {body['kind']}")


def _remove(path: str) -> None:
    with suppress(FileNotFoundError):
        os.unlink(path)


@contextmanager
def _short_path(data: Path) -> Iterator[str]:
    """The socket's path in less than the 108 bytes that Linux allows, however deep `data` is."""
    folder = os.open(data, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{folder}/{SOCKET}"
    finally:
        os.close(folder)
