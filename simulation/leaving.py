"""How a command of the simulation ends when nobody waits for it: quietly, as shells count."""

import os
import sys
import warnings
from collections.abc import Callable
from typing import Final

INTERRUPTED: Final = 130  # 128 + SIGINT
UNREAD: Final = 141  # 128 + SIGPIPE


def exit_code(command: Callable[[], int]) -> int:
    """Of `command`, or of whoever broke it off: Ctrl-C, or a reader who has seen enough."""
    try:
        code = command()
        sys.stdout.flush()
        return code
    except KeyboardInterrupt:
        code = INTERRUPTED
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = UNREAD
    warnings.simplefilter("ignore")  # a universe that was left has awaited much
    return code
