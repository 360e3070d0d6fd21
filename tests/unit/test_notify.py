"""What systemd is told, through a socket of the test's own."""

import asyncio
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.runtime import ManualRuntime
from worker.notify import Notifier

PID = 4711


@pytest.fixture
def systemd(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as heard:
        heard.bind(str(tmp_path / "notify"))
        heard.settimeout(5)
        yield heard


def notifier(heard: socket.socket, runtime: ManualRuntime, **environment: str) -> Notifier:
    return Notifier({"NOTIFY_SOCKET": heard.getsockname(), **environment}, runtime, pid=PID)


def test_a_start_and_a_stop_are_told_with_a_status(systemd: socket.socket) -> None:
    told = notifier(systemd, ManualRuntime())

    told.ready("pulls from\nhttp://gw")
    told.stopping("2 jobs run")

    assert systemd.recv(1_000) == b"READY=1\nSTATUS=pulls from http://gw"
    assert systemd.recv(1_000) == b"STOPPING=1\nSTATUS=2 jobs run"


def test_a_name_in_the_abstract_namespace_is_found() -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as heard:
        heard.bind(f"\0drawbar-test-{id(heard)}")
        heard.settimeout(5)
        name = heard.getsockname().decode().replace("\0", "@")

        Notifier({"NOTIFY_SOCKET": name}, ManualRuntime(), pid=PID).ready("here")

        assert heard.recv(1_000).startswith(b"READY=1")


async def test_signs_of_life_come_three_times_as_often_as_they_must(
    systemd: socket.socket,
) -> None:
    runtime = ManualRuntime()
    told = notifier(systemd, runtime, WATCHDOG_USEC="30000000", WATCHDOG_PID=str(PID))
    async with asyncio.TaskGroup() as group:
        living = group.create_task(told.run())
        await runtime.advance(20.5)
        living.cancel()

    systemd.setblocking(False)
    assert [systemd.recv(1_000) for _ in range(3)] == [b"WATCHDOG=1"] * 3
    with pytest.raises(BlockingIOError):
        systemd.recv(1_000)


@pytest.mark.parametrize(
    "environment",
    [
        {},
        {"WATCHDOG_USEC": "0"},
        {"WATCHDOG_USEC": "soon"},
        {"WATCHDOG_USEC": "9", "WATCHDOG_PID": "1"},
    ],
)
async def test_nobody_who_watches_gets_no_signs(
    systemd: socket.socket, environment: dict[str, str]
) -> None:
    await notifier(systemd, ManualRuntime(), **environment).run()

    systemd.setblocking(False)
    with pytest.raises(BlockingIOError):
        systemd.recv(1_000)


@pytest.mark.parametrize("address", ["", "relative", "/nowhere/at/all"])
async def test_without_a_socket_that_is_there_nothing_happens(address: str) -> None:
    told = Notifier({"NOTIFY_SOCKET": address}, ManualRuntime(), pid=PID)

    told.ready("here")
    told.status("well")


def test_a_reader_that_does_not_read_holds_nobody_up(systemd: socket.socket) -> None:
    told = notifier(systemd, ManualRuntime())

    for _ in range(5_000):
        told.status("x" * 500)

    assert systemd.recv(1_000).startswith(b"STATUS=")
