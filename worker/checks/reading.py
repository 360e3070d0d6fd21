"""Finding the files that a check names, and going through their lines in bounded memory."""

import glob
import os
import stat
from collections.abc import Iterable, Iterator

from worker.checks.contract import Context

PIECE_BYTES = 1 << 20  # a longer line is looked at in pieces of this size
OVERLAP_BYTES = 4_096  # of one piece and the next, so that what lies across is seen


class Unreadable(Exception):
    """A file cannot be looked at; the message names it and says why."""


def expanded(path: str, context: Context) -> str:
    """The path, with `~` and `${NAME}` of the job's environment filled in."""
    env = context.env
    pieces = path.split("${")
    for n, piece in enumerate(pieces[1:], 1):
        name, brace, rest = piece.partition("}")
        known = brace and (name in env or name == "DRAWBAR_LOG")
        value = context.log if name == "DRAWBAR_LOG" else env.get(name, "")
        pieces[n] = value + rest if known else "${" + piece
    path = "".join(pieces)
    if path == "~" or path.startswith("~/"):
        path = env.get("HOME", "~") + path[1:]
    return os.path.join(context.cwd, path)


def matching(paths: Iterable[str], context: Context) -> tuple[list[str], list[str]]:
    """What exists of these paths and globs, each once; and which of them match nothing."""
    found: dict[str, None] = {}
    empty: list[str] = []
    for given in paths:
        path = expanded(given, context)
        matches = [path] if os.path.lexists(path) else sorted(glob.glob(path, recursive=True))
        if not matches:
            empty.append(given)
        found.update(dict.fromkeys(matches))
    return list(found), empty


def shown(path: str, context: Context) -> str:
    """The path as a person would write it who works in the job's directory."""
    inside = os.path.relpath(path, context.cwd)
    return repr(path if inside.startswith("..") else inside)


def lines(path: str, context: Context) -> Iterator[tuple[int, bytes]]:
    """Number and bytes of each line; a very long one comes in several, overlapping pieces.

    Unreadable: it is no regular file, or reading it failed.
    """
    name = shown(path, context)
    try:
        # Not blocking: a named pipe without a writer would never open.
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            os.close(fd)
            raise Unreadable(f"{name} is no regular file")
        with open(fd, "rb", buffering=PIECE_BYTES) as file:
            number, before = 1, b""
            while line := file.readline(PIECE_BYTES):
                yield number, before + line
                if line.endswith(b"\n"):
                    number, before = number + 1, b""
                else:
                    before = line[-OVERLAP_BYTES:]
    except OSError as error:
        raise Unreadable(f"cannot read {name}: {(error.strerror or '').lower()}") from error
