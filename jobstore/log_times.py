"""When the parts of a log came, kept in a file beside it, and put in front of its lines.

A part is what its worker sent at once: what the job wrote within a tick, 80 ms.
"""

import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from shared.files import Files

RECORD: Final = struct.Struct("<QQ")  # offset, microseconds since 1970
RECORDS_PER_READ: Final = 4_096
EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Arrival:
    """From byte `offset` on, a log came at this time, or later where another says so."""

    offset: int
    at: datetime


def packed(arrival: Arrival) -> bytes:
    return RECORD.pack(arrival.offset, (arrival.at - EPOCH) // timedelta(microseconds=1))


async def unpacked(files: Files, path: str, skip: int) -> Sequence[Arrival]:
    """Up to RECORDS_PER_READ of the file. A record that was torn is left out."""
    data = await files.read(path, skip * RECORD.size, RECORDS_PER_READ * RECORD.size)
    whole = len(data) // RECORD.size * RECORD.size
    return [
        Arrival(offset, EPOCH + timedelta(microseconds=us))
        for offset, us in RECORD.iter_unpack(data[:whole])
    ]


class LineTimes:
    """Puts a time in front of each line of a log that is read from some offset on.

    A line has the time at which its first byte came.
    """

    def __init__(self, offset: int) -> None:
        self._offset = offset
        self._begins = offset == 0  # in the middle of the log, we may be in the middle of a line
        self._arrivals: list[Arrival] = []
        self.known = 0  # arrivals that were added

    def add(self, arrivals: Iterable[Arrival]) -> None:
        """The next ones. What comes again after a loss counts as it came last."""
        for arrival in arrivals:
            self.known += 1
            while self._arrivals and self._arrivals[-1].offset >= arrival.offset:
                self._arrivals.pop()
            self._arrivals.append(arrival)

    def stamp(self, piece: bytes) -> bytes:
        """The next bytes of the log, with their times."""
        stamped = []
        for line in _lines(piece):
            if self._begins:
                stamped.append(self._time())
            stamped.append(line)
            self._offset += len(line)
            self._begins = line.endswith(b"\n")
        return b"".join(stamped)

    def _time(self) -> bytes:
        while len(self._arrivals) > 1 and self._arrivals[1].offset <= self._offset:
            del self._arrivals[0]
        if not self._arrivals:
            return b""
        at = self._arrivals[0].at.astimezone(UTC).isoformat(timespec="milliseconds")
        return at.replace("+00:00", "Z ").encode()


def _lines(piece: bytes) -> list[bytes]:
    """bytes.splitlines would also split at a lone carriage return, with which bars are drawn."""
    lines = [line + b"\n" for line in piece.split(b"\n")]
    last = lines.pop()[:-1]
    return [*lines, last] if last else lines
