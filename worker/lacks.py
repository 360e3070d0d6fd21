"""Which failures to begin a job are the machine's, so that they cost the job no try."""

import errno
from typing import Final

from worker.ports import WorkerAtFault

# No descriptors, processes, memory or room left, or a disk that takes nothing. Another worker may
# have them, or this one later.
MACHINES: Final = frozenset(
    {
        errno.EMFILE,
        errno.ENFILE,
        errno.EAGAIN,
        errno.ENOMEM,
        errno.ENOSPC,
        errno.EDQUOT,
        errno.EROFS,
        errno.EIO,
    }
)


def is_machines_fault(error: BaseException) -> bool:
    """Whether it says so, or what it was raised from tells of such a lack."""
    if isinstance(error, WorkerAtFault):
        return True
    cause = error.__cause__
    return isinstance(cause, OSError) and cause.errno in MACHINES
