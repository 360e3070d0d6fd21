"""What a person hands in that nobody else may read: from a file, standard input or a question."""

import getpass
import sys
from pathlib import Path
from typing import Final

from drawbar.cli.failures import Usage
from shared.protocol.execution import MAX_VALUE_BYTES

MOST: Final = 4 * MAX_VALUE_BYTES  # characters take up to so many bytes


def entered(what: str, file: Path | None) -> str:
    """The text; one line end behind it does not count. Usage: it cannot be read."""
    if file is None and sys.stdin.isatty():
        try:
            return getpass.getpass(f"{what}: ")
        except EOFError:
            raise Usage(f"{what}: nothing was entered") from None
    return _text(what, file)


def entered_whole(what: str, file: Path | None) -> str:
    """The same for a text of many lines, which nobody types unseen."""
    if file is None and sys.stdin.isatty():
        raise Usage(f"{what}: give it as --file FILE, or on standard input")
    return _text(what, file)


def _text(what: str, file: Path | None) -> str:
    try:
        if file is None:
            data = sys.stdin.buffer.read(MOST + 1)
        else:
            with file.open("rb") as opened:
                data = opened.read(MOST + 1)
        text = data.decode()
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise Usage(f"{what}: {file} cannot be read: {reason}") from None
    except UnicodeDecodeError:
        raise Usage(f"{what}: this is not UTF-8 text; values are text") from None
    if len(data) > MOST:
        raise Usage(f"{what}: a value may have {MAX_VALUE_BYTES} characters")
    return text.removesuffix("\n").removesuffix("\r")
