"""`drawbar …` that dies as by kill -9 at a named moment.

    python -m tests.support.doomed POINT ARG…

POINT is a fault point of `shared/faultpoints.py`, or `gateway.VERB.before` or `.after` of a call of
a worker, with `:N` after it to die at the N-th time.
"""

import os
import signal
import sys
from collections.abc import Awaitable, Callable
from functools import wraps
from typing import Any

from shared.faultpoints import injector

CALLS = ("run", "append_log", "put_artifact", "finish")


def main() -> None:
    """The command runs until the moment comes, if it comes."""
    point, _, times = sys.argv[1].partition(":")
    left = int(times or 1)

    async def die(name: str, *_: object) -> None:
        nonlocal left
        if name == point:
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    injector.set(die)
    sys.argv = ["drawbar", *sys.argv[2:]]
    _watch_calls(die)
    from drawbar.cli.main import main as drawbar

    drawbar()


def _watch_calls(die: Callable[[str], Awaitable[None]]) -> None:
    """Each call of a worker to its gateway has two moments: before it is sent, and answered."""
    from shared.http.clients import GatewayClient

    def watched(verb: str, call: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        @wraps(call)
        async def made(*args: object) -> object:
            await die(f"gateway.{verb}.before")
            answer = await call(*args)
            await die(f"gateway.{verb}.after")
            return answer

        return made

    for verb in CALLS:
        setattr(GatewayClient, verb, watched(verb, getattr(GatewayClient, verb)))


if __name__ == "__main__":
    main()
