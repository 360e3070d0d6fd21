"""What a job left, found by its patterns, measured and hashed; with words for what cannot be had.

Sizes are looked at before a byte is read: a sparse file of a terabyte is turned down at once.
"""

import os
import stat
from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from functools import partial
from hashlib import sha256
from typing import BinaryIO, Final

from pydantic import ValidationError

from shared.protocol.gateway import MAX_ARTIFACTS, ArtifactEntry
from worker.ports import ArtifactLimits, CannotCollect
from worker.tree import MAX_PATH, Folder, split_path

BLOCK_BYTES: Final = 1 << 20  # read at a time
KINDS: Final = (
    (stat.S_ISLNK, "a symbolic link"),
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISDIR, "an empty folder"),
)


def collect(root: str, globs: Sequence[str], limits: ArtifactLimits) -> list[ArtifactEntry]:
    """Regular files that match, hashed, in order of their paths. See `AttemptFiles`."""
    found: dict[str, ArtifactEntry] = {}
    total = 0
    with Folder.at(root) as top:
        for glob in globs:
            for path, file in matching(top, glob):
                with file:
                    if path in found:
                        continue
                    split_path(path)
                    total += _measure(path, file, limits.each_bytes)
                    if total > limits.total_bytes:
                        raise CannotCollect(
                            f"artifacts of more than {limits.total_bytes:,} bytes together"
                        )
                    try:
                        found[path] = _entry(path, file, limits.each_bytes)
                    except OSError as error:  # of a disk, or of a file that is a kernel's word
                        raise CannotCollect(f"{path!r}: {error.strerror}") from error
                if len(found) > MAX_ARTIFACTS:
                    raise CannotCollect(f"more than {MAX_ARTIFACTS:,} artifacts")
    return [found[path] for path in sorted(found)]


def matching(top: Folder, glob: str) -> Iterator[tuple[str, BinaryIO]]:
    """Regular files that match, open. CannotCollect: there are none."""
    names = _without_repeats(split_path(glob))
    matched = False
    try:
        for found in _match(top, names, ""):
            matched = True
            yield found
        if not matched:
            raise CannotCollect(f"artifacts {glob!r}: {_why_none(top, names)}")
    except OSError as error:
        raise CannotCollect(f"artifacts {glob!r}: {error.strerror}") from error


def _match(folder: Folder, pattern: Sequence[str], above: str) -> Iterator[tuple[str, BinaryIO]]:
    """Regular files of `folder` that match; '**' stands for any number of folders."""
    head, *rest = pattern
    if len(above) > MAX_PATH:  # also bounds the depth of this recursion
        raise CannotCollect(f"folders are nested too deeply below {above[:80]!r}")
    if head == "**":
        yield from _match(folder, rest or ["*"], above)
        for name in folder.names():
            if not name.startswith("."):
                inner = folder.child(name)
                if inner is not None:
                    with inner:
                        yield from _match(inner, pattern, f"{above}{name}/")
        return
    is_literal = not _is_pattern(head)
    names = [head] if is_literal else [n for n in folder.names() if _fits(n, head)]
    for name in names:
        if rest:
            inner = folder.child(name)
            if inner is not None:
                with inner:
                    yield from _match(inner, rest, f"{above}{name}/")
            continue
        file = folder.open_regular(name)
        if file is not None:
            yield above + name, file
        elif is_literal and (inner := folder.child(name)) is not None:
            with inner:
                yield from _below(inner, f"{above}{name}/")


def _below(folder: Folder, above: str) -> Iterator[tuple[str, BinaryIO]]:
    """Every regular file below a folder that was named, hidden ones too."""
    if len(above) > MAX_PATH:
        raise CannotCollect(f"folders are nested too deeply below {above[:80]!r}")
    for name in folder.names():
        file = folder.open_regular(name)
        if file is not None:
            yield above + name, file
        elif (inner := folder.child(name)) is not None:
            with inner:
                yield from _below(inner, f"{above}{name}/")


def _why_none(top: Folder, names: Sequence[str]) -> str:
    none = "no regular file matches"
    if any(_is_pattern(name) for name in names):
        return none
    try:
        mode = os.stat("/".join(names), dir_fd=top.fd, follow_symlinks=False).st_mode
    except OSError:
        return none
    kind = next((words for test, words in KINDS if test(mode)), "a device")
    return f"{none}; it is {kind}"


def _is_pattern(name: str) -> bool:
    return any(c in name for c in "*?[")


def _without_repeats(names: list[str]) -> list[str]:
    """'**/**' says no more than '**', but takes much longer to try."""
    return [n for i, n in enumerate(names) if not (n == "**" and i and names[i - 1] == "**")]


def _fits(name: str, pattern: str) -> bool:
    """As in a shell, a leading dot has to be said."""
    return fnmatchcase(name, pattern) and (not name.startswith(".") or pattern.startswith("."))


def _measure(path: str, file: BinaryIO, limit: int) -> int:
    size = os.fstat(file.fileno()).st_size
    if size > limit:
        raise CannotCollect(f"{path!r} has {size:,} bytes, an artifact may have {limit:,}")
    return size


def _entry(path: str, file: BinaryIO, limit: int) -> ArtifactEntry:
    digest = sha256()
    size = 0
    for block in iter(partial(file.read, BLOCK_BYTES), b""):
        digest.update(block)
        size += len(block)
        if size > limit:  # somebody who outlived the job still writes to it
            raise CannotCollect(f"{path!r} grows while it is read")
    try:
        return ArtifactEntry(path=path, size_bytes=size, sha256=digest.hexdigest())
    except ValidationError as error:  # a name that a file may have, but an artifact may not
        why = error.errors()[0]["msg"].removeprefix("Value error, ")
        raise CannotCollect(f"{path!r}: {why}") from None
