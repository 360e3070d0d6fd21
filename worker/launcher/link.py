"""One end of a conversation with a launcher or a keeper, read in the event loop."""

import asyncio
import socket
import struct
from collections.abc import Callable, Sequence
from typing import Final

from worker.launcher import wire

UCRED: Final = struct.Struct("3i")  # pid, uid, gid (unix(7))

Heard = Callable[[list[bytes], list[int]], None]


class Link:
    """Open until the other end is gone, or this one was closed."""

    def __init__(self, end: socket.socket) -> None:
        self.is_open = True
        self._heard: Heard | None = None
        self._end = end
        self._loop = asyncio.get_running_loop()
        end.setblocking(False)

    def listen(self, heard: Heard) -> None:
        """`heard` gets each packet from now on, also those that came before anybody listened, and
        an empty one when the other end is gone."""
        if self._heard is None and self.is_open:
            self._loop.add_reader(self._end, self._read)
        self._heard = heard

    def say(self, *parts: bytes, files: Sequence[int] = ()) -> bool:
        """Whether it was sent: the other end is there, and keeps up."""
        if not self.is_open:
            return False
        try:
            wire.send(self._end, *parts, files=files)
        except (wire.Gone, BlockingIOError, OSError):
            return False
        return True

    def close(self) -> None:
        if self.is_open:
            self.is_open = False
            self._loop.remove_reader(self._end)
            self._end.close()

    def peer_uid(self) -> int:
        """The user whose process listened."""
        packed = self._end.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, UCRED.size)
        _, uid, _ = UCRED.unpack(packed)
        return int(uid)

    def _read(self) -> None:
        try:
            parts, files = wire.receive(self._end)
        except BlockingIOError:
            return
        except wire.Gone:
            self.close()
            parts, files = [], []
        assert self._heard is not None, "nothing is read before"
        self._heard(parts, files)
