"""Whether files are there, as the job service's machine sees it."""

import os
import stat
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from pydantic import JsonValue

from jobstore.triggers.kinds import File
from jobstore.triggers.ports import MayNot, NotYet

Seen = JsonValue | NotYet | MayNot


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
    return found


def _look(file: File, folders: Sequence[Path], now: datetime) -> JsonValue:
    """The event. Nothing is read of the file, and its size and age are all that is told."""
    if not folders:
        raise MayNot(
            f"the job service may not look for {file.path}: start it with --trigger-folder DIR"
        )
    real = os.path.realpath(file.path)
    if not any(Path(real).is_relative_to(folder) for folder in folders):
        raise MayNot(
            f"the job service may not look for {file.path}: it is not below one of its "
            "--trigger-folder"
        )
    try:
        about = os.stat(real)
    except OSError as error:
        raise NotYet(f"{error.strerror or 'it cannot be seen'}") from None
    if not stat.S_ISREG(about.st_mode):
        raise NotYet("what is there is no regular file")
    if file.settled_s and now.timestamp() - about.st_mtime < file.settled_s:
        raise NotYet("it was written to a moment ago")
    return {
        "path": file.path,
        "size_bytes": about.st_size,
        "modified_at": datetime.fromtimestamp(about.st_mtime, UTC).isoformat(),
    }
