"""The line to the supervisor: requests on what was fd 1, replies on what was fd 0.

Both are put aside before anything else happens. What the task then prints, in Python or in C, goes
to the log, and what it starts has no input.
"""

from __future__ import annotations

import json
import os
from _thread import allocate_lock
from collections.abc import Callable

from drawbar.sdk.current import AskFailed, NotThere

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

PIECE = 65_536
LOG = 2
NOT_THERE = ("unknown_variable", "unknown_connection", "unknown_job")


class SupervisorGone(Exception):
    """Nobody is at the other end any more."""


class Channel:
    """Requests and their replies, one at a time, from whichever thread of the task's process."""

    def __init__(self) -> None:
        self._replies = os.dup(0)
        self._requests = os.dup(1)
        nothing = os.open(os.devnull, os.O_RDONLY)
        os.dup2(nothing, 0)
        os.close(nothing)
        os.dup2(LOG, 1)
        self._rest = b""
        self._count = 0
        self._turn = allocate_lock()
        self._owner = os.getpid()
        self.frame_bytes = PIECE

    def read_start(self) -> dict[str, Any]:
        """The first line. SupervisorGone: there is none."""
        start: dict[str, Any] = json.loads(self._read_line())
        self.frame_bytes = start["frame_bytes"]
        return start

    def ask(self, what: str, /, **fields: object) -> dict[str, Any]:
        """The answer. AskFailed, NotThere: the answer is an error."""
        return self.ask_encoded(what, json.dumps(fields, ensure_ascii=False, allow_nan=False))

    def ask_encoded(self, what: str, fields: str) -> dict[str, Any]:
        """The same, with fields that are JSON already."""
        if os.getpid() != self._owner:
            raise AskFailed("forbidden", "a copy made by fork cannot ask; ask before", {})
        with self._turn:
            self._count += 1
            rest = f",{fields[1:-1]}" if len(fields) > 2 else ""
            line = f'{{"id":{self._count},"ask":"{what}"{rest}}}\n'
            try:
                frame = line.encode()
            except UnicodeEncodeError:
                raise AskFailed(
                    "bad_request", "half of a surrogate pair is no character", {}
                ) from None
            if len(frame) > self.frame_bytes:
                facts = {"limit_bytes": self.frame_bytes}
                raise AskFailed("too_large", f"a request may have {self.frame_bytes} bytes", facts)
            self._write(frame)
            reply = self._read_reply(self._count)
        error = reply.get("error")
        if error is not None:
            kind: Callable[..., AskFailed] = NotThere if error["code"] in NOT_THERE else AskFailed
            raise kind(error["code"], error["message"], error["facts"])
        ok: dict[str, Any] = reply["ok"]
        return ok

    def is_copy(self) -> bool:
        """Whether this process is a fork of the task's own: it has nothing to say."""
        return os.getpid() != self._owner

    def _write(self, frame: bytes) -> None:
        left = memoryview(frame)
        try:
            while left:
                left = left[os.write(self._requests, left) :]
        except BrokenPipeError:
            raise SupervisorGone("the supervisor does not listen any more") from None

    def _read_reply(self, number: int) -> dict[str, Any]:
        """The reply to that request. SIGTERM may have interrupted the wait for an earlier one."""
        while True:
            reply: dict[str, Any] = json.loads(self._read_line())
            if reply["id"] in (number, None):
                return reply

    def _read_line(self) -> bytes:
        while b"\n" not in self._rest[-PIECE:]:
            piece = os.read(self._replies, PIECE)
            if not piece:
                raise SupervisorGone("the supervisor hung up")
            self._rest += piece
        line, _, self._rest = self._rest.partition(b"\n")
        return line
