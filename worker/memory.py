"""How much memory new processes can have: by the machine, and by each control group around us.

In a container the kernel's own estimate is that of the whole machine, of which we may have little.
"""

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

from worker.launcher.cgroups import own_groups, own_mounts

# Names of a limit, of what is used, and of the pages among those that can be given back at once:
# copies of what is on a disk.
UNIFIED: Final = ("memory.max", "memory.current", ("inactive_file", "active_file"))
SEPARATE: Final = (
    "memory.limit_in_bytes",
    "memory.usage_in_bytes",
    ("total_inactive_file", "total_active_file"),
)


def available_bytes(proc: Path = Path("/proc")) -> int | None:
    """The least that any of them leaves; None: nothing is said of it."""
    return min(_said(proc), default=None)


def _said(proc: Path) -> Iterator[int]:
    for line in (proc / "meminfo").read_text().splitlines():
        if line.startswith("MemAvailable:"):  # proc_meminfo(5)
            yield int(line.split()[1]) * 1024
    own = dict(own_groups(f"{proc}/self"))
    for kind, mount, options in own_mounts(f"{proc}/self"):
        is_unified = kind == "cgroup2"
        name = "" if is_unified else "memory"
        if name not in own or ".." in own[name] or (name and name not in options.split(",")):
            continue
        group = Path(mount, own[name].lstrip("/"))
        for around in (group, *group.parents):
            yield from _left_in(around, UNIFIED if is_unified else SEPARATE)
            if around == Path(mount):
                break


def _left_in(group: Path, names: tuple[str, str, tuple[str, ...]]) -> Iterator[int]:
    """Nothing, where there is no limit, or no such group to be seen."""
    limit, used, given_back = names
    with suppress(OSError, ValueError):  # "max" is no number
        left = int((group / limit).read_text()) - int((group / used).read_text())
        facts = dict(line.split() for line in (group / "memory.stat").read_text().splitlines())
        yield max(0, left + sum(int(facts.get(name, 0)) for name in given_back))
