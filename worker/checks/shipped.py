"""The checks that every worker has, by name, with their parameters."""

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from worker.checks import files, machine
from worker.checks.contract import Check
from worker.checks.params import (
    BadParams,
    Param,
    command,
    flag,
    integer,
    integers,
    one_of,
    pattern,
    port,
    read_params,
    seconds,
    size_or_share,
    take_timeout,
    text,
    texts,
)

COMMAND: Final = "check_command"


class Shipped(NamedTuple):
    check: Check
    params: Mapping[str, Param]


_LOGS: Final = {"log_file": Param(texts), "allow_empty": Param(flag, False)}
_PATTERN: Final = {
    "file": Param(texts),
    "pattern": Param(pattern),
    "ignore_case": Param(flag, False),
    "allow_empty": Param(flag, False),
}

# fmt: off
SHIPPED: Final[Mapping[str, Shipped]] = {
    "check_file_exists": Shipped(files.check_file_exists, {
        "path": Param(texts),
        "kind": Param(one_of("any", "file", "directory"), "any"),
    }),
    "check_file_fresh": Shipped(files.check_file_fresh, {
        "path": Param(texts),
        "max_age": Param(seconds, None),
        "newer_than": Param(text, None),
    }),
    "check_no_ora_errors": Shipped(files.check_no_ora_errors, _LOGS),
    "check_no_ora_or_sp2_errors": Shipped(files.check_no_ora_or_sp2_errors, _LOGS),
    "check_pattern_absent": Shipped(files.check_pattern_absent, _PATTERN),
    "check_pattern_present": Shipped(files.check_pattern_present, _PATTERN),
    COMMAND: Shipped(machine.check_command, {
        "command": Param(command),
        "exit_code": Param(integer, 0),
    }),
    "check_disk_space": Shipped(machine.check_disk_space, {
        "path": Param(text, "."),
        "min_free": Param(size_or_share),
    }),
    "check_tcp_port": Shipped(machine.check_tcp_port, {
        "host": Param(text, "127.0.0.1"),
        "port": Param(port),
    }),
    "check_http": Shipped(machine.check_http, {
        "url": Param(text),
        "status": Param(integers, ()),
        "body_pattern": Param(pattern, None),
    }),
}
# fmt: on


def is_sound(name: str, params: Mapping[str, Any]) -> bool:
    """Whether it is a shipped check, and has the parameters that it takes."""
    if name not in SHIPPED:
        return False
    try:
        read_params(SHIPPED[name].params, take_timeout(params)[1])
    except BadParams:
        return False
    return True
