"""Named moments at which a test or a simulation may interfere. In production: nothing happens.

Names are `service.verb.moment`, for example `jobstore.store.after_commit`; `faults/points.py`
lists them. Facts say whom the moment is about: `worker`, `run`, `job`, `attempt`.
"""

from collections.abc import Awaitable, Callable, Mapping
from contextvars import ContextVar
from typing import Any

Facts = Mapping[str, Any]
Injector = Callable[[str, Facts], Awaitable[None]]
Spoiler = Callable[[str, bytes, Facts], Awaitable[bytes]]

injector: ContextVar[Injector | None] = ContextVar("fault_injector", default=None)
spoiler: ContextVar[Spoiler | None] = ContextVar("fault_spoiler", default=None)


async def faultpoint(name: str, **facts: Any) -> None:
    """Let the installed injector delay, fail or end this process here; without one, return."""
    inject = injector.get()
    if inject is not None:
        await inject(name, facts)


async def through(name: str, data: bytes, **facts: Any) -> bytes:
    """The bytes, or what an installed spoiler has made of them at this point."""
    spoil = spoiler.get()
    return data if spoil is None else await spoil(name, data, facts)
