"""How a worker, its launcher and the keepers talk: packets of texts on Unix sockets.

A packet is its parts, joined by NUL, which none of them holds: words of a command and variables
cannot. Files travel beside it (SCM_RIGHTS). Only the standard library is imported, and little of
it: a launcher has to be small, as every keeper is a copy of it.
"""

import os
import socket
from array import array
from collections.abc import Sequence
from typing import Final

VERSION: Final = b"1"  # a launcher outlives upgrades of its worker
LATE: Final = b"late"  # instead of an errno: the lease has ended before the start
PACKET_BYTES: Final = 65_536
MOST_FILES: Final = 4


class Gone(Exception):
    """Nobody listens at the other end."""


def pair() -> tuple[socket.socket, socket.socket]:
    return socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)


def send(to: socket.socket, *parts: bytes, files: Sequence[int] = ()) -> None:
    """The packet is on its way. Gone. BlockingIOError: the other end does not keep up."""
    packet = b"\0".join(parts)
    if len(packet) > PACKET_BYTES:
        _send_large(to, packet, files)
        return
    try:
        if files:
            socket.send_fds(to, [packet], files)
        else:
            to.send(packet)
    except (BrokenPipeError, ConnectionResetError):
        raise Gone from None


def receive(of: socket.socket) -> tuple[list[bytes], list[int]]:
    """The next packet. Gone: there will be none. BlockingIOError: there is none yet."""
    files = array("i")
    room = socket.CMSG_LEN(MOST_FILES * files.itemsize)
    try:
        # Not socket.recv_fds, which passes no flags on: programs would inherit the files.
        packet, extras, _, _ = of.recvmsg(PACKET_BYTES, room, socket.MSG_CMSG_CLOEXEC)
    except ConnectionResetError:
        raise Gone from None
    for level, kind, data in extras:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
            files.frombytes(data[: len(data) - len(data) % files.itemsize])
    if not packet:
        raise Gone
    if packet == b"large":
        packet = _read_large(files.pop())
    return packet.split(b"\0"), files.tolist()


def _send_large(to: socket.socket, packet: bytes, files: Sequence[int]) -> None:
    """A command may have 2 MiB of words and variables; a packet has to fit a socket's buffer."""
    whole = os.memfd_create("packet", os.MFD_CLOEXEC)
    try:
        with open(whole, "wb", closefd=False) as file:
            file.write(packet)
        send(to, b"large", files=[*files, whole])
    finally:
        os.close(whole)


def _read_large(whole: int) -> bytes:
    with open(whole, "rb") as file:
        file.seek(0)
        return file.read()
