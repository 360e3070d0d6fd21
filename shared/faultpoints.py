"""Named moments at which a test or a simulation may interfere. In production: nothing happens.

Names are `service.verb.moment`, for example `jobstore.finish.after_commit`.
"""

from collections.abc import Awaitable, Callable
from contextvars import ContextVar

Injector = Callable[[str], Awaitable[None]]

injector: ContextVar[Injector | None] = ContextVar("fault_injector", default=None)


async def faultpoint(name: str) -> None:
    """Let the installed injector delay, fail or end this process here; without one, return."""
    inject = injector.get()
    if inject is not None:
        await inject(name)
