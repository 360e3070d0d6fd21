"""Tells systemd how the worker does (sd_notify(3)), when systemd asked for it.

A unit with Type=notify is started once the worker can be reached; with WatchdogSec= the worker
has to give a sign of life again and again, which it does from its event loop: when that stands
still, there is none.
"""

import socket
from collections.abc import Mapping
from typing import Final

import structlog

from shared.runtime import Runtime

SIGNS_PER_TIMEOUT: Final = 3  # two may come late

log = structlog.get_logger()


class Notifier:
    """A datagram for each message; without a socket to send them to, nothing happens."""

    def __init__(self, environment: Mapping[str, str], runtime: Runtime, *, pid: int) -> None:
        self._runtime = runtime
        self._address = _address(environment.get("NOTIFY_SOCKET", ""))
        self._watchdog_s = _watchdog_s(environment, pid)
        self._is_heard = True  # so far

    def ready(self, status: str) -> None:
        """The unit is started."""
        self._send(f"READY=1\nSTATUS={_line(status)}")

    def status(self, text: str) -> None:
        """What `systemctl status` shows."""
        self._send(f"STATUS={_line(text)}")

    def stopping(self, status: str) -> None:
        """The unit is about to stop, however long that takes."""
        self._send(f"STOPPING=1\nSTATUS={_line(status)}")

    async def run(self) -> None:
        """Signs of life, for ever; returns at once when nobody waits for them."""
        while self._address is not None and self._watchdog_s is not None:
            self._send("WATCHDOG=1")
            await self._runtime.sleep(self._watchdog_s / SIGNS_PER_TIMEOUT)

    def _send(self, message: str) -> None:
        if self._address is None:
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
                sender.setblocking(False)  # systemd that does not read must not stop the worker
                sender.sendto(message.encode(), self._address)
        except OSError as error:
            if self._is_heard:
                log.warning("systemd.not_told", error=error.strerror or str(error))
            self._is_heard = False
        else:
            self._is_heard = True


def _address(text: str) -> str | None:
    """A path, or a name in the abstract namespace, which is written with a leading @."""
    if text.startswith("@"):
        return "\0" + text[1:]
    return text if text.startswith("/") else None


def _watchdog_s(environment: Mapping[str, str], pid: int) -> float | None:
    """None: nobody watches, or it is another process that is watched (sd_watchdog_enabled(3))."""
    text, of = environment.get("WATCHDOG_USEC", ""), environment.get("WATCHDOG_PID", str(pid))
    if not text.isascii() or not text.isdigit() or of != str(pid):
        return None
    return int(text) / 1_000_000 or None


def _line(text: str) -> str:
    return text.replace("\n", " ")
