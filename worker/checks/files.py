"""Checks that look at files: whether they exist, how old they are, what stands in them."""

import os
import re
from collections.abc import Callable, Mapping
from typing import Any

from worker.checks.contract import Context, Failed, Passed
from worker.checks.reading import Unreadable, expanded, lines, matching, shown

SHOWN = 200  # characters of a line that is quoted

Result = Passed | Failed


def check_file_exists(params: Mapping[str, Any], context: Context) -> Result:
    """Each path exists, each glob matches something."""
    found, empty = matching(params["path"], context)
    if empty:
        return Failed(f"nothing exists at {_listed(empty)}")
    kind = params["kind"]
    is_such: dict[str, Callable[[str], bool]] = {
        "any": os.path.exists,
        "file": os.path.isfile,
        "directory": os.path.isdir,
    }
    for path in found:
        if not is_such[kind](path):
            if not os.path.exists(path):
                return Failed(f"{shown(path, context)} is a link to nothing")
            return Failed(f"{shown(path, context)} is no {kind}")
    return Passed()


def check_file_fresh(params: Mapping[str, Any], context: Context) -> Result:
    """Each file was changed within `max_age`, and after `newer_than` was."""
    max_age_s, newer_than = params["max_age"], params["newer_than"]
    if max_age_s is None and newer_than is None:
        return Failed("one of the parameters 'max_age' and 'newer_than' is needed")
    found, empty = matching(params["path"], context)
    if empty:
        return Failed(f"nothing exists at {_listed(empty)}")
    try:
        other = None if newer_than is None else os.stat(expanded(newer_than, context)).st_mtime_ns
        for path in found:
            changed_ns = os.stat(path).st_mtime_ns
            age_s = context.now() - changed_ns / 1e9
            if max_age_s is not None and age_s > max_age_s:
                name = shown(path, context)
                return Failed(f"{name} was changed {age_s:.0f} s ago, more than {max_age_s:g} s")
            if other is not None and changed_ns <= other:
                return Failed(f"{shown(path, context)} is not newer than {newer_than!r}")
    except OSError as error:
        why = (error.strerror or "").lower()
        return Failed(f"cannot look at {shown(str(error.filename), context)}: {why}")
    return Passed()


def check_no_ora_errors(params: Mapping[str, Any], context: Context) -> Result:
    """No line has an error message of Oracle's database in it."""
    return _absent(params["log_file"], [b"ORA-"], params["allow_empty"], context)


def check_no_ora_or_sp2_errors(params: Mapping[str, Any], context: Context) -> Result:
    """Nor one of SQL*Plus."""
    return _absent(params["log_file"], [b"ORA-", b"SP2-"], params["allow_empty"], context)


def check_pattern_absent(params: Mapping[str, Any], context: Context) -> Result:
    """No line of any file matches."""
    matches = _matcher(params)
    return matches if isinstance(matches, Failed) else _go_through(params, matches, context, False)


def check_pattern_present(params: Mapping[str, Any], context: Context) -> Result:
    """In each file there is a line that matches."""
    matches = _matcher(params)
    return matches if isinstance(matches, Failed) else _go_through(params, matches, context, True)


def _absent(
    paths: list[str], words: list[bytes], allow_empty: bool, context: Context
) -> Passed | Failed:
    params = {"file": paths, "allow_empty": allow_empty}
    return _go_through(params, lambda line: any(word in line for word in words), context, False)


def _go_through(
    params: Mapping[str, Any], matches: Callable[[bytes], bool], context: Context, is_wanted: bool
) -> Passed | Failed:
    """Every file has a line that matches; or, unless that is wanted, no file has."""
    found, empty = matching(params["file"], context)
    if empty and not params["allow_empty"]:
        return Failed(f"no file matches {_listed(empty)} (allow_empty: true lets that pass)")
    try:
        for path in found:
            hit = next(((n, line) for n, line in lines(path, context) if matches(line)), None)
            if hit is None and is_wanted:
                return Failed(f"no line of {shown(path, context)} matches {params['pattern']!r}")
            if hit is not None and not is_wanted:
                quoted = hit[1].decode("utf-8", "replace").strip()[:SHOWN]
                return Failed(f"{shown(path, context)}, line {hit[0]}: {quoted}")
    except Unreadable as error:
        return Failed(str(error))
    return Passed(f"{len(found)} file{'' if len(found) == 1 else 's'}")


def _matcher(params: Mapping[str, Any]) -> Callable[[bytes], bool] | Failed:
    """Whether a line matches. Bytes that are no UTF-8 are seen as U+FFFD."""
    try:
        pattern = re.compile(params["pattern"], re.IGNORECASE if params["ignore_case"] else 0)
    except (re.error, OverflowError, RecursionError) as error:
        return Failed(f"parameter 'pattern' is no regular expression: {error}")
    return lambda line: pattern.search(line.decode("utf-8", "replace").rstrip("\r\n")) is not None


def _listed(paths: list[str]) -> str:
    return ", ".join(repr(path) for path in paths)
