"""The real machine below a worker: where it keeps files, and what runs its jobs."""

import os
import signal
from pathlib import Path

import structlog

from shared.runtime import Runtime
from worker.runners.groups import GroupLedger, kill_marked
from worker.runners.shell import ShellRunner
from worker.workspace import DiskWorkspace

MOST_BY_DEFAULT = 32  # slots

log = structlog.get_logger()


def prepare_machine(
    data: Path, base_dir: Path | None, runtime: Runtime
) -> tuple[ShellRunner, DiskWorkspace]:
    """A runner and a workspace below `data`, after an earlier incarnation's jobs were ended.

    The caller holds the folder for itself alone, and closes the runner.
    """
    if signal.getsignal(signal.SIGCHLD) is signal.SIG_IGN:
        # Inherited from whoever started us: the kernel would throw exit codes away.
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    data.mkdir(parents=True, exist_ok=True, mode=0o700)
    ledger = GroupLedger(data / "groups")
    workspace = DiskWorkspace(data / "attempts", base_dir, runtime)
    groups = ledger.kill_leftovers()
    processes = kill_marked(workspace.left_behind())
    if groups or processes:
        log.warning("worker.leftovers_killed", groups=groups, processes=processes)
    workspace.clear()
    return ShellRunner(runtime, ledger), workspace


def default_slots() -> int:
    """Four jobs for each core that this process may use: most of them wait for something."""
    return min(MOST_BY_DEFAULT, 4 * len(os.sched_getaffinity(0)))
