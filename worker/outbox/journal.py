"""Facts about attempts, one line each, in a file that outlives the worker.

The file is of a fixed size and allocated beforehand: a note costs one pwrite into the page cache,
a few microseconds, and a full disk cannot keep a running job's end from being noted. When it is
full, what still counts is written into a new one, which takes its place by a rename. It is never
synced: page cache survives the worker, and a loss of power ends the processes that it tells of.
What has to survive that, too, is parked (`worker/outbox/parked.py`).
"""

import os
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from pydantic_core import from_json, to_json

SIZE: Final = 4 * 1_024 * 1_024  # some two thousand jobs
HEAD: Final = 64  # bytes: the machine's start by its id, and the time of the last heartbeat
BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")

Facts = dict[str, Any]
Step = Callable[[str], None]  # OSError: the disk fails there


class Journal:
    """What is known of attempts that are not settled. OSError: the disk does not take it."""

    def __init__(self, path: Path, *, size: int = SIZE, disk: Step = lambda _: None) -> None:
        self._path = path
        self._disk = disk
        self._size = size
        self._boot = boot_id()
        self._fd = -1
        self._end = 0
        self._beat_at = 0.0
        self._live: dict[str, Facts] = {}
        self._lacks = False  # something that was to be noted: the next note writes all anew

    def open(self, live: Mapping[str, Facts], beat_at: float = 0.0) -> None:
        """The file holds these facts and no others. An earlier file stays whole until then."""
        self._live = {key: dict(facts) for key, facts in live.items()}
        self._beat_at = beat_at
        self._turn_over()

    def close(self) -> None:
        """No more notes. Safe to repeat."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def note(self, key: str, facts: Facts) -> None:
        """These facts are known of `key`, in addition to, or instead of, earlier ones."""
        known = self._live.setdefault(key, {})
        known.update(facts)
        self._write(_line(key, facts))

    def settle(self, key: str) -> None:
        """Nothing of `key` is kept. Safe to repeat."""
        if self._live.pop(key, None) is not None:
            self._write(_line(key, None))

    def known(self, key: str) -> Facts | None:
        """All that is known of `key`; None: nothing, or it is settled."""
        return self._live.get(key)

    def forget(self, key: str) -> None:
        """As if `key` had never been noted; for a first note that failed."""
        self._live.pop(key, None)

    def beat(self, at: float) -> None:
        """All leases that were held at `at` were renewed."""
        self._beat_at = at
        os.pwrite(self._fd, self._head(), 0)

    def probe(self) -> None:
        """The disk takes a new file. OSError: it does not."""
        self._disk("probe")
        self._turn_over()

    def _write(self, line: bytes) -> None:
        lacked, self._lacks = self._lacks, True
        self._disk("note")
        if lacked or self._end + len(line) > self._size:
            self._turn_over()  # which writes all that is known, this line's facts included
        else:
            _pwrite_all(self._fd, line, self._end)
            self._end += len(line)
            self._lacks = False

    def _turn_over(self) -> None:
        lines = b"".join(_line(key, facts) for key, facts in self._live.items())
        temporary = self._path.with_suffix(".new")
        fd = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            size = max(self._size, 2 * (HEAD + len(lines)))
            os.posix_fallocate(fd, 0, size)
            _pwrite_all(fd, self._head() + lines, 0)
            os.rename(temporary, self._path)
        except BaseException:
            os.close(fd)
            raise
        self.close()
        self._fd, self._end, self._size = fd, HEAD + len(lines), size
        self._lacks = False

    def _head(self) -> bytes:
        return f"{self._boot} {self._beat_at:.6f}".encode().ljust(HEAD - 1) + b"\n"


class Found:
    """What an earlier worker's journal holds. Nothing, when there is none or it is damaged."""

    def __init__(self, path: Path) -> None:
        self.live: dict[str, Facts] = {}
        self.beat_at = 0.0
        self.is_of_this_boot = False
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            return
        match data[:HEAD].decode("ascii", "replace").split():
            case [boot, beat_at]:
                self.is_of_this_boot = boot == boot_id()
                with suppress(ValueError):  # damaged
                    self.beat_at = float(beat_at)
            case _:
                return
        for key, facts in _lines(data[HEAD:]):
            if facts is None:
                self.live.pop(key, None)
            else:
                self.live.setdefault(key, {}).update(facts)


def boot_id() -> str:
    """Of this start of the machine."""
    return BOOT_ID.read_text().strip().replace("-", "")


def _line(key: str, facts: Facts | None) -> bytes:
    body = to_json([key, facts], bytes_mode="base64")
    return b"%08x %s\n" % (zlib.crc32(body), body)


def _lines(data: bytes) -> Iterator[tuple[str, Facts | None]]:
    """Up to the first that was not written whole: there the writer died."""
    for line in data.splitlines():
        check, _, body = line.partition(b" ")
        if check != b"%08x" % zlib.crc32(body) or not body:
            return
        key, facts = from_json(body)
        yield key, facts


def _pwrite_all(fd: int, data: bytes, at: int) -> None:
    done = 0
    while done < len(data):
        done += os.pwrite(fd, data[done:], at + done)
