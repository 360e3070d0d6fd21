"""When processes started, on the monotonic clock that all processes of a machine share.

A file's time would not do: the kernel keeps it to a tick, up to 4 ms. Each job writes a line into
a FIFO as the first thing it does; a process that does nothing else notes when the line arrives.
"""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

NOTER = """
import os, sys, time
fifo = os.open(sys.argv[1], os.O_RDWR)  # for writing too, or it would end with the first job
print("ready", flush=True)
while True:
    lines = os.read(fifo, 65536).split()
    now = time.monotonic_ns()
    for line in lines:
        print(line.decode(), now, flush=True)
"""


class Stamps:
    """Reads what the noter noted."""

    def __init__(self, fifo: Path, noter: "subprocess.Popen[str]") -> None:
        self.fifo = fifo
        self._noter = noter

    def wait_for(self, sample: int) -> int:
        """When that line arrived, in nanoseconds of the monotonic clock."""
        assert self._noter.stdout is not None
        for line in self._noter.stdout:
            said, at_ns = line.split()
            if int(said) == sample:
                return int(at_ns)
        raise AssertionError("the noter ended")


@contextmanager
def noting(folder: Path) -> Iterator[Stamps]:
    """A FIFO in `folder`, and somebody who notes when lines arrive."""
    fifo = folder / "stamps"
    os.mkfifo(fifo)
    noter = subprocess.Popen(
        [sys.executable, "-S", "-E", "-c", NOTER, str(fifo)], stdout=subprocess.PIPE, text=True
    )
    try:
        assert noter.stdout is not None
        assert noter.stdout.readline() == "ready\n"
        yield Stamps(fifo, noter)
    finally:
        noter.kill()
        noter.wait()
        fifo.unlink()
