"""How a process of services starts, ends and fails."""

import asyncio
import os
import signal
import sys

import pytest
from structlog.testing import capture_logs

from shared.daemon import run_until_signalled
from shared.errors import Misconfigured, StoreFailed

BEGINS_ANEW = """
import asyncio, os, signal, sys
from shared.daemon import listening_to_signals

async def main():
    await asyncio.to_thread(int)  # from now on there is a thread that could be ended
    with listening_to_signals(begins_anew=True) as signals:
        os.kill(os.getpid(), signal.SIGHUP)
        await signals.again.wait()
    os.kill(os.getpid(), signal.SIGTERM)
    os.kill(os.getpid(), signal.SIGHUP)
    while len(signal.sigpending()) < 2:
        await asyncio.sleep(0)

asyncio.run(main())
successor = "import signal; print(*sorted(each.name for each in signal.sigpending()))"
os.execv(sys.executable, [sys.executable, "-c", successor])
"""


class Recorded:
    """A part that writes down what happens to it."""

    def __init__(self, name: str, story: list[str]) -> None:
        self.name = name
        self.story = story
        self.start_error: Exception | None = None
        self.stop_error: Exception | None = None
        self.may_stop = asyncio.Event()
        self.may_stop.set()
        self.stopping = asyncio.Event()
        self.failure: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def start(self) -> None:
        self.story.append(f"{self.name} starts")
        if self.start_error is not None:
            raise self.start_error

    async def stop(self) -> None:
        self.stopping.set()
        await self.may_stop.wait()
        self.story.append(f"{self.name} stops")
        if self.stop_error is not None:
            raise self.stop_error


@pytest.fixture
def story() -> list[str]:
    return []


@pytest.fixture
async def parts(story: list[str]) -> list[Recorded]:
    return [Recorded("store", story), Recorded("server", story)]


def interrupt() -> None:
    os.kill(os.getpid(), signal.SIGINT)


def terminate() -> None:
    os.kill(os.getpid(), signal.SIGTERM)


@pytest.mark.parametrize("ask", [terminate, interrupt])
async def test_a_signal_stops_the_parts_in_reverse(
    parts: list[Recorded], story: list[str], ask: object
) -> None:
    assert callable(ask)
    async with asyncio.timeout(5):
        await run_until_signalled(parts, started=ask)

    assert story == ["store starts", "server starts", "server stops", "store stops"]


async def test_a_part_that_fails_ends_the_process_with_its_error(
    parts: list[Recorded], story: list[str]
) -> None:
    def fail() -> None:
        parts[0].failure.set_exception(StoreFailed("disk full"))

    with pytest.raises(StoreFailed, match="disk full"):
        async with asyncio.timeout(5):
            await run_until_signalled(parts, started=fail)

    assert story[-2:] == ["server stops", "store stops"]


async def test_a_part_that_cannot_start_stops_those_before_it(
    parts: list[Recorded], story: list[str]
) -> None:
    parts[1].start_error = Misconfigured("port in use")

    with pytest.raises(Misconfigured, match="port in use"):
        await run_until_signalled(parts)

    assert story == ["store starts", "server starts", "server stops", "store stops"]


async def test_a_part_that_cannot_stop_does_not_keep_the_others(
    parts: list[Recorded], story: list[str]
) -> None:
    parts[1].stop_error = ZeroDivisionError()

    with capture_logs() as logs:
        async with asyncio.timeout(5):
            await run_until_signalled(parts, started=terminate)

    assert story[-1] == "store stops"
    assert [entry["event"] for entry in logs] == ["part.stop_failed"]


async def test_a_second_signal_does_not_wait_for_a_part_that_hangs(
    parts: list[Recorded], story: list[str]
) -> None:
    parts[1].may_stop.clear()

    async def hurry() -> None:
        await parts[1].stopping.wait()
        terminate()

    async with asyncio.timeout(5), asyncio.TaskGroup() as group:
        group.create_task(hurry())
        await run_until_signalled(parts, started=terminate)

    assert "server stops" not in story


async def test_signals_are_the_programs_again_afterwards(parts: list[Recorded]) -> None:
    before = signal.getsignal(signal.SIGTERM)

    async with asyncio.timeout(5):
        await run_until_signalled(parts, started=terminate)

    assert signal.getsignal(signal.SIGTERM) == before


async def test_signals_wait_for_the_successor_whatever_threads_there_are() -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", BEGINS_ANEW, stdout=asyncio.subprocess.PIPE
    )
    async with asyncio.timeout(20):
        said, _ = await process.communicate()

    assert (process.returncode, said) == (0, b"SIGHUP SIGTERM\n")
