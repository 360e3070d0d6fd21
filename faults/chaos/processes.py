"""Processes of this machine, found by a mark in their environment."""

import os
import signal
from contextlib import suppress
from pathlib import Path


def processes_with(variable: str, value: str) -> dict[int, str]:
    """Living ones in whose environment it is, and what each runs. Only where there is /proc."""
    mark = f"{variable}={value}".encode()
    found = {}
    for name in os.listdir("/proc") if Path("/proc/self").exists() else ():
        if name.isdecimal():
            try:
                if mark in Path(f"/proc/{name}/environ").read_bytes().split(b"\0"):
                    words = Path(f"/proc/{name}/cmdline").read_bytes().replace(b"\0", b" ")
                    found[int(name)] = words.decode(errors="replace").strip()
            except OSError:
                pass  # it ended while we looked
    return found


def kill_leftover(pid: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
