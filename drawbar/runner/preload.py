"""A flow's modules, imported before there is a task, so that copies of this process can run tasks.

A copy must not differ from a fresh interpreter that imported the same modules. Whatever an import
left behind that copies would share, or would not have, makes the flow unfit: its tasks start cold.
"""

from __future__ import annotations

import gc
import os
import signal
import sys
from types import ModuleType

from drawbar.runner.main import Unusable, load, open_log
from drawbar.sdk import current

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    Stamp = tuple[int, int]

MOST_OUTPUT = 60_000  # bytes that modules print when they are imported; a pipe holds 65,536
STDLIB = f"{os.path.dirname(os.__file__)}/"


class Unfit(Exception):
    """Tasks of this flow start cold, and the message says why."""


class Preloaded:
    """A flow that is ready to run, in a process of which copies can be made."""

    def __init__(self, wanted: dict[str, Any], output: int) -> None:
        """`output`: where to read what this process writes to stdout and stderr. Unfit."""
        own = set(sys.modules)
        descriptors, folder = _descriptors(), os.getcwd()
        open_log()
        os.set_blocking(1, False)  # 2 is the same pipe: what prints too much fails, and waits not
        try:
            self.module: ModuleType = load(wanted)
        except Unusable as error:
            raise Unfit(str(error)) from None
        _reject_leftovers(descriptors, folder)
        self.output = _read(output)
        self.modules = set(sys.modules)
        self._files = _stamps(set(sys.modules) - own, wanted["folder"])
        gc.collect()
        gc.freeze()  # or every copy would write to all pages when it collects

    def is_stale(self) -> bool:
        """Whether a fresh interpreter would import something else by now."""
        return any(_stamp(path) != stamp for path, stamp in self._files.items())


def _reject_leftovers(descriptors: set[str], folder: str) -> None:
    """Unfit: copies would share what a module made, or would lack it."""
    if current.was_missed():
        raise Unfit("a module asks for its task when it is imported")
    if len(os.listdir("/proc/self/task")) > 1:
        raise Unfit("a module starts a thread when it is imported")
    if _descriptors() != descriptors:
        raise Unfit("a module leaves a file or connection open when it is imported")
    if _has_children():
        raise Unfit("a module starts a process when it is imported")
    if any(any(signal.getitimer(timer)) for timer in _TIMERS):
        raise Unfit("a module starts a timer when it is imported")
    if _shares_memory():
        raise Unfit("a module shares memory with others when it is imported")
    if os.getcwd() != folder:
        raise Unfit("a module changes its working directory when it is imported")
    if os.listdir():
        raise Unfit("a module writes into its working directory when it is imported")


_TIMERS = (signal.ITIMER_REAL, signal.ITIMER_VIRTUAL, signal.ITIMER_PROF)


def _descriptors() -> set[str]:
    """Those that are open now, by number and target; without the one that lists them."""
    found = set()
    for number in os.listdir("/proc/self/fd"):
        try:
            found.add(f"{number} {os.readlink(f'/proc/self/fd/{number}')}")
        except OSError:
            continue
    return found


def _has_children() -> bool:
    with open(f"/proc/self/task/{os.getpid()}/children") as file:
        return bool(file.read())


def _shares_memory() -> bool:
    """Whether something is mapped that a copy could write to and this process would see."""
    with open("/proc/self/maps") as file:
        return any(line.split()[1][1::2] == "ws" for line in file)


def _read(output: int) -> bytes:
    """What the modules printed. Unfit: too much to be repeated for each task."""
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os.set_blocking(output, False)
    try:
        printed = os.read(output, MOST_OUTPUT + 1)
    except BlockingIOError:
        return b""
    if len(printed) > MOST_OUTPUT:
        raise Unfit(f"modules print more than {MOST_OUTPUT} bytes when they are imported")
    return printed


def _stamps(names: set[str], folder: str | None) -> dict[str, Stamp]:
    """The files of these modules, as they are now. Bundles and Python's own never change."""
    found = {}
    for name in names:
        path = getattr(sys.modules[name], "__file__", None)
        if not isinstance(path, str) or (folder is not None and path.startswith(f"{folder}/")):
            continue
        if path.startswith(STDLIB) and "-packages/" not in path:
            continue
        found[path] = _stamp(path)
    return {path: stamp for path, stamp in found.items() if stamp is not None}


def _stamp(path: str) -> Stamp | None:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size
