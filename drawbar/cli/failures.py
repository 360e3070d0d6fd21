"""How a command says that something does not work: an exception to raise, a line, an exit code.

Every command loads this; what only matters once something failed is in explaining.py.
"""

import os
import sys
from typing import Final

FAILED: Final = 1
USAGE: Final = 2  # a bad file, or a command that cannot be understood
INTERRUPTED: Final = 130  # as shells count: 128 + SIGINT


class Usage(Exception):
    """The command line does not make sense; the message says what to write instead."""


class Interrupted(Exception):
    """The person pressed Ctrl-C, and something was left undone; the message says what."""


def say(text: str, prefix: str = "drawbar: ") -> None:
    """The text is on stderr, whatever became of stdout."""
    sys.stderr.write(f"{prefix}{text}\n")
    sys.stderr.flush()


def is_debugging() -> bool:
    return os.environ.get("DRAWBAR_DEBUG", "") not in ("", "0")
