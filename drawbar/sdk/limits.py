"""`limits=` of a task, as people write them in documents: `{"memory": "2G", "cpus": 1.5}`."""

from __future__ import annotations

import re
from collections.abc import Mapping

from drawbar.sdk.graph import FlowMistake

Limit = str | int | float

# As the job has them, and as people do.
_SIZES = {"memory": "memory_bytes", "file_size": "file_size_bytes", "scratch": "scratch_bytes"}
_COUNTS = ("pids", "open_files", "nice")
_SIZE = re.compile(r"([0-9]{1,15}(?:\.[0-9]+)?)\s*([kKMGT])(B|iB)?", re.ASCII)
_POWERS = {"K": 1, "M": 2, "G": 3, "T": 4}


def limits_of(given: Mapping[str, Limit]) -> dict[str, int | float]:
    """FlowMistake: an unknown limit, or one that is no size or number."""
    read: dict[str, int | float] = {}
    for name, value in given.items():
        if name in _SIZES:
            read[_SIZES[name]] = _size_of(name, value)
        elif name in _COUNTS:
            read[name] = _number(name, value, int)
        elif name == "cpus":
            read[name] = _number(name, value, float)
        else:
            known = ", ".join((*_SIZES, "cpus", *_COUNTS))
            raise FlowMistake(f"there is no limit {name!r}; there are {known}")
    return read


def _size_of(name: str, value: Limit) -> int:
    """Bytes: 512M and 512MiB are 1024-fold, as memory is counted; 512MB is 1000-fold."""
    if isinstance(value, str) and (match := _SIZE.fullmatch(value)):
        unit = 1_000 if match[3] == "B" else 1_024
        return int(float(match[1]) * unit ** _POWERS[match[2].upper()])
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    raise FlowMistake(f"limit {name} is a size such as 1048576, '512M' or '1.5G', not {value!r}")


def _number(name: str, value: Limit, kind: type[int] | type[float]) -> int | float:
    if isinstance(value, bool) or not isinstance(value, int | kind):
        what = "a whole number" if kind is int else "a number"
        raise FlowMistake(f"limit {name} is {what}, not {value!r}")
    return value
