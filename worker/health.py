"""What the worker finds when it looks after itself. While anything is bad it takes no jobs.

Each check answers within a deadline, or that is what is bad about it: a disk that hangs is no
better than one that is full. What cannot be known at the moment (the gateway's clock, while the
gateway is away) keeps nobody from anything.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import Final, Protocol

import structlog

from shared.protocol.registry import Finding
from shared.runtime import Runtime

LOOK_EVERY_S: Final = 10.0
PATIENCE_S: Final = 5.0  # for the answer of one check

log = structlog.get_logger()


class Check(Protocol):
    """Something that can be wrong with a worker's machine."""

    @property
    def name(self) -> str: ...

    async def look(self) -> Finding | None:
        """How it is; None: that cannot be known now."""


class Health:
    """The latest findings. `changed` is called when the worker became fit or unfit."""

    def __init__(
        self, checks: Sequence[Check], runtime: Runtime, *, patience_s: float = PATIENCE_S
    ) -> None:
        self._patience_s = patience_s
        self._checks = checks
        self._runtime = runtime
        self.findings: tuple[Finding, ...] = ()
        self.changed: Callable[[], None] = lambda: None

    @property
    def flaw(self) -> str | None:
        """What keeps the worker from taking jobs."""
        bad = [f"{found.name}: {found.says}" for found in self.findings if not found.is_good]
        return "; ".join(bad) or None

    async def look_once(self) -> None:
        """The findings are of this moment."""
        before = self.flaw
        async with asyncio.TaskGroup() as group:
            looks = [
                group.create_task(self._look(check), name=f"check {check.name}")
                for check in self._checks
            ]
        self.findings = tuple(found for look in looks if (found := look.result()) is not None)
        if (self.flaw is None) is (before is None):
            return
        if self.flaw is None:
            log.info("worker.fit", was=before)
        else:
            log.warning("worker.unfit", flaw=self.flaw)
        self.changed()

    async def run(self) -> None:
        """Looks, for ever."""
        while self._checks:
            await self._runtime.sleep(LOOK_EVERY_S)
            await self.look_once()

    async def _look(self, check: Check) -> Finding | None:
        try:
            async with asyncio.timeout(self._patience_s):
                return await check.look()
        except TimeoutError:
            says = f"no answer within {self._patience_s:g} s"
        except OSError as error:
            says = error.strerror or str(error)
        return Finding(name=check.name, is_good=False, says=says)
