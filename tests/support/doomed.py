"""`drawbar …` that dies as by kill -9 at a named moment.

    python -m tests.support.doomed POINT ARG…

POINT is a fault point of `shared/faultpoints.py`, with `:N` after it to die at the N-th time.
"""

import os
import signal
import sys

from shared.faultpoints import injector


def main() -> None:
    """The command runs until the moment comes, if it comes."""
    point, _, times = sys.argv[1].partition(":")
    left = int(times or 1)

    async def die(name: str) -> None:
        nonlocal left
        if name == point:
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    injector.set(die)
    sys.argv = ["drawbar", *sys.argv[2:]]
    from drawbar.cli.main import main as drawbar

    drawbar()


if __name__ == "__main__":
    main()
