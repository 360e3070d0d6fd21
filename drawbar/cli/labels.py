"""What a worker of this machine is: its labels, and whether a pipeline can run with them."""

import platform
import re
from collections.abc import Iterable, Mapping, Sequence

from drawbar.cli.failures import Usage
from drawbar.cli.pairs import parse_pairs
from shared.protocol.pipeline import JobSpec


def worker_labels(given: Sequence[str]) -> dict[str, str]:
    """`os` and `arch` as this machine has them, and above them what --label says."""
    own = {"os": platform.system().lower(), "arch": platform.machine()}
    return own | parse_pairs("--label", given)


def changed_labels(given: Sequence[str], removed: Sequence[str]) -> dict[str, str | None]:
    """What --label and --unlabel say; None: the label goes. Usage: it cannot be one."""
    labels: dict[str, str | None] = {**parse_pairs("--label", given)}
    for name in removed:
        if name in labels:
            raise Usage(f"--label and --unlabel both name {name!r}: give one of them")
        labels[name] = None
    for name, value in labels.items():
        for word in (name, "-" if value is None else value):
            if not re.fullmatch(r"[^\x00-\x1f/]{1,200}", word):
                raise Usage(
                    f"{word!r} cannot be in a label: 1 to 200 characters, no '/', no control "
                    "characters"
                )
    return labels


def check_requires(jobs: Iterable[JobSpec], labels: Mapping[str, str]) -> None:
    """Usage: a job requires what the only worker of the run is not; it would wait for ever."""
    for job in jobs:
        missing = {name: v for name, v in job.requires.items() if labels.get(name) != v}
        if missing:
            flags = " ".join(f"--label {pair}" for pair in _pairs(missing))
            raise Usage(
                f"job {job.id!r} requires {', '.join(_pairs(missing))}, and this worker has "
                f"{', '.join(_pairs(labels))}: give {flags}, or use --server"
            )


def check_slots(jobs: Iterable[JobSpec], slots: int) -> None:
    """Usage: a job takes more slots than the only worker of the run has."""
    for job in jobs:
        if job.slots > slots:
            raise Usage(
                f"job {job.id!r} takes {job.slots} slots, and this worker has {slots}: "
                f"give --workers {job.slots}, or use --server"
            )


def _pairs(labels: Mapping[str, str]) -> list[str]:
    return [f"{name}={value}" for name, value in sorted(labels.items())]
