"""Whether files are there, as the job service's machine sees it."""

import fnmatch
import os
import stat
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Final

from pydantic import JsonValue

from jobstore.triggers.kinds import File, is_pattern
from jobstore.triggers.ports import MayNot, NotYet

Seen = JsonValue | NotYet | MayNot

MOST_ENTRIES: Final = 10_000  # of a folder, that a pattern is compared with


def look_at(
    wanted: Sequence[tuple[str, File]], folders: Sequence[Path], now: datetime
) -> dict[str, Seen]:
    """What there is to say of each. Blocking: a network's file system may take its time."""
    found: dict[str, Seen] = {}
    for key, file in wanted:
        try:
            found[key] = _look(file, folders, now)
        except (NotYet, MayNot) as seen:
            found[key] = seen
        except (OSError, OverflowError, ValueError) as error:  # written to after the year 9999, …
            found[key] = NotYet(f"it cannot be looked at: {error}")
    return found


def _look(file: File, folders: Sequence[Path], now: datetime) -> JsonValue:
    """The event. Nothing is read of the file; its name, size and age are all that is told."""
    if not folders:
        raise MayNot(
            f"the job service may not look for {file.path}: start it with --trigger-folder DIR"
        )
    folder, name = os.path.split(file.path)
    if not is_pattern(name):
        return _regular(file.path, file, folders, now)
    if not _is_within(os.path.realpath(folder), folders):
        raise _forbidden(file.path)
    not_yet = NotYet("nothing there matches")
    for path in _matches(folder, name):
        try:
            return _regular(path, file, folders, now)
        except MayNot:  # a link that leads out of the folder
            continue
        except NotYet as seen:
            not_yet = NotYet(f"{path}: {seen}")
    raise not_yet


def _regular(path: str, file: File, folders: Sequence[Path], now: datetime) -> JsonValue:
    """The event, if that one file is as it has to be."""
    real = os.path.realpath(path)
    if not _is_within(real, folders):
        raise _forbidden(path)
    try:
        about = os.stat(real)
    except OSError as error:
        raise NotYet(f"{error.strerror or 'it cannot be seen'}") from None
    if not stat.S_ISREG(about.st_mode):
        raise NotYet("what is there is no regular file")
    if file.settled_s and now.timestamp() - about.st_mtime < file.settled_s:
        raise NotYet("it was written to a moment ago")
    return {
        "path": path,
        "size_bytes": about.st_size,
        "modified_at": datetime.fromtimestamp(about.st_mtime, UTC).isoformat(),
    }


def _matches(folder: str, pattern: str) -> Iterator[str]:
    """Paths in the folder, by name. As in a shell, what begins with a dot is hidden."""
    try:
        with os.scandir(folder) as entries:
            some = [entry.name for entry in islice(entries, MOST_ENTRIES + 1)]
    except OSError as error:
        raise NotYet(f"{folder}: {error.strerror or 'it cannot be seen'}") from None
    if len(some) > MOST_ENTRIES:
        raise NotYet(f"{folder} holds more than {MOST_ENTRIES} files: name the one that is wanted")
    for name in sorted(some):
        is_shown = not name.startswith(".") or pattern.startswith(".")
        if is_shown and _is_text(name) and fnmatch.fnmatchcase(name, pattern):
            yield os.path.join(folder, name)


def _is_text(name: str) -> bool:
    """A name may be any bytes, and no event can tell of those that are not UTF-8."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _is_within(real: str, folders: Sequence[Path]) -> bool:
    return any(Path(real).is_relative_to(folder) for folder in folders)


def _forbidden(path: str) -> MayNot:
    return MayNot(
        f"the job service may not look for {path}: it is not below one of its --trigger-folder"
    )
