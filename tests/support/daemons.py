"""Daemons as processes of their own: started, ended, frozen and killed, each by its pid."""

import asyncio
import os
import signal
import socket
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import aiohttp

DRAWBAR: Final = str(Path(sys.executable).with_name("drawbar"))
LIMIT_S: Final = 40.0  # far more than anything takes here; a test that meets it has failed
ASK_EVERY_S: Final = 0.02


async def until(is_so: Callable[[], Awaitable[bool]], what: str) -> None:
    """It is so. Another process cannot ring a bell in this one, so it is asked again and again."""
    try:
        async with asyncio.timeout(LIMIT_S):
            while not await is_so():  # noqa: ASYNC110  # as said
                await asyncio.sleep(ASK_EVERY_S)
    except TimeoutError:
        raise AssertionError(f"in {LIMIT_S:g} s it never came true that {what}") from None


class Port:
    """A free port that stays ours between a daemon's death and its successor's start.

    Bound but not listened on: a daemon may bind it as well, and the kernel gives it to no one else.
    """

    def __init__(self, count: int = 1) -> None:
        """The first of `count` in a row."""
        while True:
            self._sockets = [_bound(0)]
            self.number: int = self._sockets[0].getsockname()[1]
            try:
                self._sockets += [_bound(self.number + n) for n in range(1, count)]
            except OSError:
                self.close()
            else:
                return

    def close(self) -> None:
        for one in self._sockets:
            one.close()


class Daemon:
    """`drawbar …` with its output in a file."""

    def __init__(
        self, words: Sequence[str], env: Mapping[str, str], log: Path, url: str | None = None
    ) -> None:
        self.words = list(words)
        self.program: Sequence[str] = (DRAWBAR,)
        self.url = url
        self.log = log
        self._env = dict(env)
        self._process: asyncio.subprocess.Process | None = None

    @property
    def pid(self) -> int:
        assert self._process is not None, f"{self.words[0]} was never started"
        return self._process.pid

    @property
    def is_alive(self) -> bool:
        return self._process is not None and self._process.returncode is None

    async def launch(self) -> None:
        """The process exists."""
        assert not self.is_alive
        with self.log.open("ab") as output:
            self._process = await asyncio.create_subprocess_exec(
                *self.program,
                *self.words,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=self._env,
                start_new_session=True,
            )

    async def start(self) -> None:
        """It serves."""
        await self.launch()
        if self.url is not None:
            await until(self._is_ready, f"{self.words[0]} is ready")

    def send(self, number: signal.Signals) -> None:
        os.kill(self.pid, number)

    async def ended(self) -> int:
        """Its exit code, once it has one."""
        assert self._process is not None
        async with asyncio.timeout(LIMIT_S):
            return await self._process.wait()

    async def kill(self) -> None:
        """It died as in a crash: nothing was said, nothing put in order."""
        self.send(signal.SIGKILL)
        await self.ended()

    async def stop(self) -> int:
        """It was asked to end, and did; its exit code."""
        self.send(signal.SIGTERM)
        return await self.ended()

    async def end(self) -> None:
        """Whatever state it was in, it is gone."""
        for number, patience_s in ((signal.SIGTERM, 2.0), (signal.SIGTERM, 5.0)):
            if not self.is_alive:
                return
            assert self._process is not None
            self.send(signal.SIGCONT)
            self.send(number)
            try:
                async with asyncio.timeout(patience_s):
                    await self._process.wait()
            except TimeoutError:
                pass
        if self.is_alive:
            await self.kill()

    def said(self) -> str:
        """Everything that it wrote so far."""
        return self.log.read_text(errors="replace")

    async def _is_ready(self) -> bool:
        if not self.is_alive:
            raise AssertionError(f"{' '.join(self.words)} ended:\n{self.said()[-2_000:]}")
        timeout = aiohttp.ClientTimeout(total=2)
        try:
            async with (
                aiohttp.ClientSession(timeout=timeout) as session,
                session.get(f"{self.url}/readyz") as answer,
            ):
                return answer.status == 200
        except (aiohttp.ClientError, TimeoutError):
            return False


@dataclass(frozen=True)
class Finished:
    """A command that has ended."""

    code: int
    out: bytes
    err: str


async def run_command(words: Sequence[str], env: Mapping[str, str], cwd: Path) -> Finished:
    """`drawbar …` ran to its end."""
    process = await asyncio.create_subprocess_exec(
        DRAWBAR,
        *words,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=env,
        cwd=cwd,
    )
    try:
        async with asyncio.timeout(LIMIT_S):
            out, err = await process.communicate()
    except BaseException:
        process.kill()
        await process.wait()
        raise
    assert process.returncode is not None
    return Finished(process.returncode, out, err.decode())


def processes_with(variable: str, value: str) -> dict[int, str]:
    """Living processes in whose environment it is, and what each runs. Zombies have none."""
    mark = f"{variable}={value}".encode()
    found = {}
    for name in os.listdir("/proc"):
        if name.isdecimal():
            try:
                if mark in Path(f"/proc/{name}/environ").read_bytes().split(b"\0"):
                    words = Path(f"/proc/{name}/cmdline").read_bytes()
                    found[int(name)] = words.replace(b"\0", b" ").decode(errors="replace")
            except OSError:
                pass  # it ended while we looked
    return found


def _bound(port: int) -> socket.socket:
    one = socket.socket()
    try:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        one.bind(("127.0.0.1", port))
    except BaseException:
        one.close()
        raise
    return one
