"""Real folders of simulated machines: a loss of power takes from them what was never synced.

Code that must write with the operating system's own calls (the worker's outbox) does so. Its
calls of `os.fsync` are heard of (`simulation/world.py`); everything else is the kernel's to keep
or to lose.
"""

import os
import random
import stat
from pathlib import Path
from typing import Final

REACHES_DISK: Final = 0.4  # of what nobody synced


class SyncedFolder:
    """`root` and what is below it, as far as the disk has it for certain."""

    def __init__(self, root: Path, chance: random.Random) -> None:
        root.mkdir(parents=True, exist_ok=True)
        self.root = root
        self.lost_bytes = 0  # by losses of power, so far
        self._chance = chance
        self._contents: dict[int, bytes] = {}  # by inode, when it was last synced
        self._names: dict[str, dict[str, int]] = {}  # of each folder, when it was last synced

    def sync(self, fd: int) -> None:
        """What `fd` is of survives from now on: a file's bytes, or a folder's names."""
        path = os.readlink(f"/proc/self/fd/{fd}")
        if not path.startswith(str(self.root)):
            return
        status = os.fstat(fd)
        if stat.S_ISDIR(status.st_mode):
            self._names[path] = _names_in(path)
        else:
            self._contents[status.st_ino] = Path(path).read_bytes()

    def lose_power(self) -> None:
        """Files have their synced bytes and perhaps some of the others; so have folders names."""
        for folder, _, _ in sorted(os.walk(self.root)):
            durable, present = self._names.get(folder, {}), _names_in(folder)
            for name in sorted(durable.keys() | present.keys()):
                self._strike(Path(folder, name), durable.get(name), present.get(name))
            self._names[folder] = _names_in(folder)

    def _strike(self, path: Path, durable: int | None, present: int | None) -> None:
        if present is not None and (present == durable or self._chance.random() < REACHES_DISK):
            self._tear(path, self._contents.get(present, b""))
            return
        if durable is not None and durable in self._contents:  # its removal was not synced
            path.unlink(missing_ok=True)
            path.write_bytes(self._contents[durable])
        elif present is not None:
            self.lost_bytes += path.stat().st_size
            path.unlink()

    def _tear(self, path: Path, synced: bytes) -> None:
        """What was written after the last sync is there, in part, or reads as zeros."""
        seen = path.read_bytes()
        if seen == synced or self._chance.random() < REACHES_DISK:
            survives = seen
        elif not seen.startswith(synced):  # written over: the old bytes, or the new
            survives = self._chance.choice((seen, synced))
        else:
            cut = self._chance.randint(len(synced), len(seen))
            self.lost_bytes += len(seen) - cut
            survives = seen[:cut]
            if self._chance.random() < 0.5:
                survives = survives.ljust(len(seen), b"\0")
        path.write_bytes(survives)
        self._contents[path.stat().st_ino] = survives


def _names_in(folder: str) -> dict[str, int]:
    with os.scandir(folder) as entries:
        found = {e.name: e.inode() for e in entries if not e.is_dir(follow_symlinks=False)}
    return dict(sorted(found.items()))
