"""What can be seen of jobs below keepers, and of the keepers, from outside."""

import asyncio
import os
from collections.abc import Callable
from pathlib import Path

from shared.ids import AttemptId
from worker.ports import Launch

A1 = AttemptId("a1")

MakeLaunch = Callable[..., Launch]


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def comm(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text()
    except OSError:
        return ""


def parent_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def is_stopped(pid: int) -> bool:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"


async def until(is_so: Callable[[], bool]) -> None:
    """Nothing tells when another process has done something, so we look."""
    async with asyncio.timeout(10):
        while not is_so():  # noqa: ASYNC110 - there is no event to wait for
            await asyncio.sleep(0.005)


def sleepers(seconds: str) -> list[int]:
    """Living processes `sleep SECONDS`."""
    found = []
    for name in os.listdir("/proc"):
        if name.isdecimal():
            try:
                words = Path(f"/proc/{name}/cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            if words[:2] == [b"sleep", seconds.encode()] and is_alive(int(name)):
                found.append(int(name))
    return found
