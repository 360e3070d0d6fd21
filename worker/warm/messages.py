"""Datagrams between a worker and its warm servers: JSON, and descriptors beside it.

The other end is drawbar/runner/serving.py, which imports nothing of this.
"""

import array
import json
import socket
from collections.abc import Sequence
from typing import Any, Final

MESSAGE_BYTES: Final = 65_536


def send(link: socket.socket, message: object, descriptors: Sequence[int] = ()) -> None:
    """It is on its way. OSError: nobody listens any more, or does not keep up."""
    socket.send_fds(link, [json.dumps(message).encode()], descriptors)


def receive(link: socket.socket) -> tuple[dict[str, Any], list[int]] | None:
    """The next one; None when the other end has hung up. BlockingIOError: there is none yet."""
    size = array.array("i").itemsize
    try:
        text, control, _, _ = link.recvmsg(
            MESSAGE_BYTES, socket.CMSG_SPACE(size), socket.MSG_CMSG_CLOEXEC
        )
    except ConnectionError:
        return None
    descriptors = array.array("i")
    for level, kind, data in control:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
            descriptors.frombytes(data[: len(data) - len(data) % size])
    return (json.loads(text), list(descriptors)) if text else None
