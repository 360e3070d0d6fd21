"""The pipes of a task, and the file of its log, as they are opened for its start."""

import os
from pathlib import PurePath

from worker.joblog import open_log
from worker.ports import CannotStart
from worker.tasks.pipes import close_all, open_pipe


class Wires:
    """A task's log and pipes, while it is being started. At the end only what was taken is open."""

    def __init__(self, log: PurePath) -> None:
        """CannotStart: there are no more descriptors, or no log."""
        self._ours = [open_log(log, os.O_WRONLY)]
        self.theirs: list[int] = []
        try:
            for is_input in (True, False, False):
                read, write = open_pipe()
                self.theirs.append(read if is_input else write)
                self._ours.append(write if is_input else read)
        except OSError as error:
            close_all(*self._ours, *self.theirs)
            raise CannotStart(f"cannot open the task's pipes: {error.strerror}") from error

    def take(self) -> list[int]:
        """The log, then where to write replies, read requests, and read what is printed."""
        ours, self._ours = self._ours, []
        return ours

    def __enter__(self) -> "Wires":
        return self

    def __exit__(self, *exc: object) -> None:
        close_all(*self._ours, *self.theirs)
