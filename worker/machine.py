"""The real machine below a worker: where it keeps files, and what runs its jobs."""

import os
import signal
from collections.abc import Collection
from pathlib import Path

import structlog

from shared.ids import AttemptId
from shared.runtime import Runtime
from worker.runners.kept import KeptRunner
from worker.runners.marks import kill_marked
from worker.workspace import DiskWorkspace

MOST_BY_DEFAULT = 32  # slots

log = structlog.get_logger()


def prepare_machine(
    data: Path,
    base_dir: Path | None,
    runtime: Runtime,
    kept: Collection[AttemptId] = (),
    *,
    outlives: bool = False,
) -> tuple[KeptRunner, DiskWorkspace]:
    """A runner and a workspace below `data`, after an earlier incarnation's jobs were ended, but
    for these attempts, whose files are kept as well.

    The caller holds the folder for itself alone, and closes the runner. `outlives`: what it starts
    goes on when this process dies, until it is `attach`ed to or its permission ends.
    """
    if signal.getsignal(signal.SIGCHLD) is signal.SIG_IGN:
        # Inherited from whoever started us: the kernel would throw exit codes away.
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    data.mkdir(parents=True, exist_ok=True, mode=0o700)
    workspace = DiskWorkspace(data / "attempts", base_dir, runtime)
    runner = KeptRunner(data / "launcher", kept, outlives=outlives)
    runner.begin()
    # What has a keeper is ended by it. This is for what had one that was killed, too.
    processes = kill_marked(set(workspace.left_behind()) - set(kept))
    if processes:
        log.warning("worker.leftovers_killed", processes=processes)
    workspace.clear(but=kept)
    return runner, workspace


def default_slots() -> int:
    """Four jobs for each core that this process may use: most of them wait for something."""
    return min(MOST_BY_DEFAULT, 4 * len(os.sched_getaffinity(0)))
