"""A job's log as others get to see it: without its secrets, and without its middle if it is long.

The job writes into a file that only its worker reads. What is sent is made of it while it is read,
so that it can be made again from any place: a server that lost bytes asks for them a second time.
"""

from bisect import bisect_right
from dataclasses import dataclass
from typing import Final

import structlog

from shared.services import PIECE_BYTES
from worker.ports import AttemptFiles
from worker.tasks.masking import LONGEST, Masker

TAIL_BYTES: Final = 65_536  # of a log over its limit: its end tells why the job failed
NOTICES_BYTES: Final = 1_024  # that we may add ourselves
MARK_EVERY_BYTES: Final = 4 << 20
DROP_BYTES: Final = 16 << 20  # of what is left out, before the disk is given back

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Mark:
    """Byte `out` of what is sent begins with the notice; byte `raw` of the file comes next."""

    out: int
    raw: int
    notice: bytes = b""


class LogText:
    """Read from its beginning to its end, and again from wherever somebody says.

    Over `limit` bytes, what comes after the head is left out but for the last TAIL_BYTES.
    """

    def __init__(self, files: AttemptFiles, masker: Masker, limit: int | None) -> None:
        self._files = files
        self._masker = masker
        self._limit = limit
        self._tail = TAIL_BYTES if limit is None else min(TAIL_BYTES, limit // 4)
        self._marks = [Mark(0, 0)]
        self.out = 0  # the next byte to be read
        self._raw = 0  # of the file: where that comes from
        self._notice = b""  # of ours, which comes first
        self._ends_line = True
        self._is_over = False  # past the head
        self._is_in_tail = False
        self._size = 0  # of the file, when it was looked at last
        self._has_ended = False
        self._dropped_to = 0
        self._left_out = 0  # between head and tail
        self._vanished = 0  # before they could be sent

    @property
    def lost_bytes(self) -> int:
        """Written by the job, and never to be read here."""
        return self._left_out + self._vanished

    @property
    def unread_bytes(self) -> int:
        """Of an ended log, as far as it was asked for: what the disk does not give."""
        return max(0, self._size - self._raw)

    async def look(self) -> int:
        """The file's size now. A file that shrank was emptied or replaced: it begins anew."""
        if self._has_ended:
            return self._size
        size = await self._files.log_size()
        if size < self._size:
            self._begin_anew()
        self._size = size
        if self._is_over:
            await self._drop_middle()
        return size

    async def end(self) -> None:
        """The job has ended: its log is what the file holds now. Safe to repeat."""
        await self.look()
        self._has_ended = True

    def seek(self, out: int) -> None:
        """The next byte to be read is `out`, or one before it from which that can be reached."""
        if out < self._marks[0].out:  # the file has it no more
            lost = self._marks[0].out - out
            self._vanished += lost
            self._marks = [Mark(out, self._marks[0].raw, _lost_notice(lost))]
        elif out == self.out:
            return
        mark = self._marks[bisect_right(self._marks, out, key=lambda mark: mark.out) - 1]
        self.out, self._raw, self._notice = mark.out, mark.raw, mark.notice
        self._is_over = self._is_in_tail = False
        self._ends_line = True

    async def read(self) -> bytes:
        """The next bytes, at most PIECE_BYTES; empty: there are none for now."""
        while not self._notice:
            if self._is_over and not self._is_in_tail:
                if not self._has_ended:
                    return b""
                await self._go_to_tail()
                continue
            room = self._room()
            if room <= 0:
                self._leave_head()
                continue
            wanted = min(PIECE_BYTES, room, self._size - self._raw)
            data = await self._files.read_log(self._raw, wanted) if wanted > 0 else b""
            is_last = self._has_ended and self._raw + len(data) >= self._size
            shown, used = self._masker.split(data, is_end=is_last)
            if used:
                self._raw += used
                return self._give(shown)
            if data and room <= len(data):  # what may be a secret would go past the head's end
                self._leave_head()
                continue
            return b""
        given, self._notice = self._notice[:PIECE_BYTES], self._notice[PIECE_BYTES:]
        return self._give(given)

    def _give(self, shown: bytes) -> bytes:
        self.out += len(shown)
        self._ends_line = shown.endswith(b"\n")
        if not self._is_over and not self._notice:
            last = self._marks[-1]
            if self.out >= last.out + MARK_EVERY_BYTES and self._ends_line:
                self._marks.append(Mark(self.out, self._raw))
        return shown

    # -- the limit -----------------------------------------------------------------------------

    def _room(self) -> int:
        """Bytes that may come before something has to be left out."""
        if self._limit is None or self._is_in_tail:
            return PIECE_BYTES
        return self._limit - self._tail - NOTICES_BYTES - self.out

    def _leave_head(self) -> None:
        self._is_over = True
        self._notice = self._line(
            f"the log has reached its limit of {self._limit} bytes: what follows is left out,"
            " but for its end"
        )
        self._dropped_to = self._raw

    async def _go_to_tail(self) -> None:
        begin = max(self._raw, self._size - self._tail)
        if begin > self._raw:  # not within a secret, of which only the end would not be known
            before = max(self._raw, begin - LONGEST)
            around = await self._files.read_log(before, begin - before + LONGEST)
            begin = before + self._masker.outside(around, begin - before)
        self._left_out = begin - self._raw
        self._raw = begin
        self._is_in_tail = True
        if self._left_out:
            self._notice = self._line(f"{self._left_out} bytes were left out here")

    async def _drop_middle(self) -> None:
        """A job that writes without end does not fill the disk with what nobody will read."""
        # Twice the tail: its beginning moves on while we look.
        until = self._size - 2 * TAIL_BYTES
        if until - self._dropped_to >= DROP_BYTES:
            await self._files.drop_log(self._dropped_to, until)
            self._dropped_to = until

    # -- what the job does to its log ------------------------------------------------------------

    def _begin_anew(self) -> None:
        unsent = max(0, self._size - self._raw)
        log.warning("log.cut_short", size_bytes=self._size, unsent_bytes=unsent)
        self._vanished += unsent
        self._raw = self._dropped_to = 0
        if self._is_over:  # the rest is left out anyway
            return
        what = f"the job emptied or replaced its log here; {unsent} bytes were not sent before"
        self._marks = [Mark(self.out, 0, self._line(what))]
        self._notice = self._marks[0].notice

    def _line(self, what: str) -> bytes:
        return f"{'' if self._ends_line else chr(10)}[drawbar] {what}\n".encode()


def _lost_notice(lost: int) -> bytes:
    return f"[drawbar] {lost} bytes were lost here\n".encode()
