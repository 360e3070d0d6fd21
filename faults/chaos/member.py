"""One daemon of the cluster, as a process: started, stopped, frozen, killed, looked after.

What happens to it is written into the history; so is a death that nobody had ordered.
"""

import asyncio
import os
import signal
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from faults.chaos.recorder import Recorder
from shared.runtime import Runtime

STOP_S: Final = 30.0  # after SIGTERM; then it is killed
REVIVE_S: Final = 0.3  # after a death that nobody ordered
REVIVE_MOST_S: Final = 3.0


class Member:
    """`words` is its command line. It is up, down, or frozen."""

    def __init__(
        self,
        name: str,
        words: Sequence[str],
        env: Mapping[str, str],
        log: Path,
        recorder: Recorder,
        runtime: Runtime,
    ) -> None:
        self.name = name
        self.words = tuple(words)
        self.log = log
        self.deaths = 0  # that nobody had ordered
        self.wanted = False
        self.is_frozen = False
        self.incarnation = 0
        self._env = dict(env)
        self._recorder = recorder
        self._runtime = runtime
        self._process: asyncio.subprocess.Process | None = None
        self._lock = asyncio.Lock()

    @property
    def label(self) -> str:
        """This process and no other."""
        return f"{self.name}.{self.incarnation}"

    @property
    def is_alive(self) -> bool:
        return self._process is not None and self._process.returncode is None

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process is not None and self.is_alive else None

    async def start(self) -> None:
        """The process exists, and is meant to."""
        async with self._lock:
            self.wanted = True
            await self._launch()

    async def kill(self, down_s: float = 0.0) -> bool:
        """It died as in a crash, and was started again; whether it was alive."""
        async with self._lock:
            if not self.is_alive:
                return False
            self.wanted = False
            await self._end(signal.SIGKILL)
            self._recorder.event(self.name, "down", how="killed")
            await self._runtime.sleep(down_s)
            self.wanted = True
            await self._launch()
            return True

    async def stop(self, down_s: float | None = None) -> bool:
        """It was asked to end, and did. Then it was started again, unless `down_s` is None."""
        async with self._lock:
            self.wanted = False
            if not self.is_alive:
                return False
            self.thaw()
            code = await self._terminate()
            self._recorder.event(self.name, "down", how="stopped", exit_code=code)
            if down_s is not None:
                await self._runtime.sleep(down_s)
                self.wanted = True
                await self._launch()
            return True

    async def freeze(self, for_s: float) -> bool:
        """It was stopped by SIGSTOP and goes on; whether it was alive."""
        if not self.is_alive or self.is_frozen:
            return False
        self.is_frozen = True
        self._send(signal.SIGSTOP)
        self._recorder.event(self.name, "frozen")
        self._recorder.event(self.name, "pause", process=self.label)
        frozen = self.label
        await self._runtime.sleep(for_s)
        if self.label == frozen:  # else it was killed meanwhile, and another may be frozen
            self.thaw()
        return True

    def thaw(self) -> None:
        if self.is_frozen:
            self.is_frozen = False
            self._send(signal.SIGCONT)
            self._recorder.event(self.name, "thawed")

    async def revive(self) -> None:
        """It is up, and not frozen."""
        self.thaw()
        async with self._lock:
            self.wanted = True
            if not self.is_alive:
                await self._launch()

    async def tend(self) -> None:
        """For ever: whenever it has died by itself, it is started again, as an init would."""
        rest_s = REVIVE_S
        while True:
            process = self._process
            if process is None or process.returncode is not None:
                await self._runtime.sleep(REVIVE_S)
                process = self._process
            if process is None:
                continue
            await process.wait()
            async with self._lock:
                if not self.wanted or process is not self._process:
                    continue
                self.deaths += 1
                self.is_frozen = False
                code = process.returncode
                self._recorder.event(self.name, "down", how="died", exit_code=code)
                await self._runtime.sleep(rest_s)
                await self._launch()
            rest_s = min(REVIVE_MOST_S, rest_s * 2)

    async def finish(self) -> None:
        """Whatever state it was in, it is gone."""
        await self.stop()

    # -- the process -----------------------------------------------------------------------------

    async def _launch(self) -> None:
        self.incarnation += 1
        with self.log.open("ab") as output:
            self._process = await asyncio.create_subprocess_exec(
                *self.words,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env={**self._env, "CHAOS_WORKER": self.label},
                start_new_session=True,
            )
        self._recorder.event(self.name, "up", pid=self._process.pid)

    async def _terminate(self) -> int:
        """Asked once, asked again, killed; its exit code."""
        assert self._process is not None
        for patience_s in (STOP_S / 3, STOP_S / 3, STOP_S / 3):
            self._send(signal.SIGTERM)
            with suppress(TimeoutError):
                async with asyncio.timeout(patience_s):
                    return await self._process.wait()
        return await self._end(signal.SIGKILL)

    async def _end(self, number: signal.Signals) -> int:
        assert self._process is not None
        self._send(number)
        self.is_frozen = False
        return await self._process.wait()

    def _send(self, number: signal.Signals) -> None:
        if self.pid is not None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)
