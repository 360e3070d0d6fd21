"""The two consoles. Colours and symbols that move are for terminals; pipes get plain, wide text."""

import os
import sys
from typing import Final, TextIO

from rich.console import Console

PIPED_WIDTH: Final = 200  # nothing is cut off for a reader that is a program


def console(stream: TextIO | None = None) -> Console:
    """A console on `stream` (stdout), which never takes what a job wrote for markup."""
    stream = stream or sys.stdout
    width = None if stream.isatty() or "COLUMNS" in os.environ else PIPED_WIDTH
    return Console(
        file=stream, width=width, markup=False, highlight=False, emoji=False, soft_wrap=False
    )
