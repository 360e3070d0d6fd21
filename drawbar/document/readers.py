"""One reader per kind of value: node in, value out, or a mistake that says what was expected."""

import re
from collections.abc import Callable
from typing import Any, Final

from drawbar.document.mistakes import Path, Report
from drawbar.document.nodes import Mapping, Node, Scalar, Sequence, describe
from shared.protocol.pipeline import MAX_DURATION_S, OnLost, RetryOn

BAD: Final = object()  # what a reader returns after it reported a mistake

Reader = Callable[[Node, Path, Report], Any]

_WHOLE = re.compile(r"[-+]?[0-9](?:_?[0-9])*", re.ASCII)
_DURATION = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*(ms|s|m|h|d)?", re.ASCII)
_UNIT_S: Final = {"ms": 0.001, None: 1.0, "s": 1.0, "m": 60.0, "h": 3_600.0, "d": 86_400.0}
_TRUTH: Final = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}
_STATUSES: Final = {
    "failed": RetryOn.FAILED,
    "error": RetryOn.FAILED,  # the Executioner's word for a command that could not run
    "timeout": RetryOn.TIMEOUT,
}
_LATER_STATUSES: Final = ("lost", "precheck_failed", "postcheck_failed")


def expected(what: str, node: Node, path: Path, report: Report) -> Any:
    """BAD; the report says that the field at `path` wants `what`."""
    names: list[str] = []  # the last field and what is inside it: retry.on of jobs[3].retry.on[0]
    for part in reversed(path):
        if isinstance(part, str):
            names.insert(0, part)
        elif names:
            break
    field = ".".join(names)
    report.add(node, path, f"{field}: expected {what}, found {describe(node)}")
    return BAD


def text(node: Node, path: Path, report: Report) -> Any:
    """Text; a number or a word like true is taken as it was written."""
    if isinstance(node, Scalar) and not node.is_nothing:
        return node.text
    return expected("text", node, path, report)


def truth(node: Node, path: Path, report: Report) -> Any:
    if isinstance(node, Scalar) and node.plain and node.text.lower() in _TRUTH:
        return _TRUTH[node.text.lower()]
    return expected("true or false", node, path, report)


def whole(node: Node, path: Path, report: Report) -> Any:
    if isinstance(node, Scalar) and node.plain and len(node.text) < 100:
        match = _WHOLE.fullmatch(node.text)
        if match:
            return int(match.group())
    return expected("a whole number", node, path, report)


def number(node: Node, path: Path, report: Report) -> Any:
    if isinstance(node, Scalar) and node.plain and len(node.text) < 100:
        try:
            value = float(node.text)
        except ValueError:
            pass
        else:
            if abs(value) < float("inf"):
                return value
    return expected("a number", node, path, report)


def duration(node: Node, path: Path, report: Report) -> Any:
    """Seconds, as a float."""
    match = _DURATION.fullmatch(node.text) if isinstance(node, Scalar) else None
    if match is None:
        return expected("a duration such as 90, 90s, 30m, 2h or 1d", node, path, report)
    seconds = float(match[1]) * _UNIT_S[match[2]]
    if seconds > MAX_DURATION_S:
        return expected("a duration of at most 366 days", node, path, report)
    return seconds


def limit(node: Node, path: Path, report: Report) -> Any:
    """A duration that something may take: zero would stop it before it began."""
    seconds = duration(node, path, report)
    return expected("a duration above zero", node, path, report) if seconds == 0 else seconds


def texts(node: Node, path: Path, report: Report) -> Any:
    """A list of texts; one text alone is a list of one."""
    return _items(node, path, report, text, "a list of texts")


def exit_codes(node: Node, path: Path, report: Report) -> Any:
    return _items(node, path, report, whole, "a list of exit codes")


def retry_on(node: Node, path: Path, report: Report) -> Any:
    """Kinds of failure, without repetition: the Executioner's ERROR and FAILED are one here."""
    found = _items(node, path, report, _status, "a list of statuses")
    return found if found is BAD else tuple(dict.fromkeys(found))


def on_lost(node: Node, path: Path, report: Report) -> Any:
    known = [choice.value for choice in OnLost]
    if isinstance(node, Scalar) and node.text in known:
        return node.text
    return expected(" or ".join(known), node, path, report)


def variables(node: Node, path: Path, report: Report) -> Any:
    """A mapping of texts; numbers and booleans keep the text that they were written as.

    What has a mistake is left out, so that the rest can be checked as well.
    """
    if not isinstance(node, Mapping):
        return expected("a mapping of names to texts", node, path, report)
    values: dict[str, str] = {}
    lines: dict[str, int] = {}
    for key, value in node.pairs:
        name = key.text
        if name in lines:
            report.add(key, (*path, name), f"{name!r} is given twice (see line {lines[name]})")
            continue
        lines[name] = key.line
        read = text(value, (*path, name), report)
        if read is not BAD:
            values[name] = read
    return values


def _items(node: Node, path: Path, report: Report, read: Reader, what: str) -> Any:
    if isinstance(node, Mapping):
        return expected(what, node, path, report)
    if isinstance(node, Scalar):
        one = read(node, path, report)
        return BAD if one is BAD else (one,)
    found = [read(item, (*path, i), report) for i, item in enumerate(node.items)]
    return BAD if BAD in found else tuple(found)


def _status(node: Node, path: Path, report: Report) -> Any:
    if isinstance(node, Scalar):
        name = node.text.lower()
        if name in _STATUSES:
            return _STATUSES[name]
        if name in _LATER_STATUSES:
            why = " (on_lost says what follows)" if name == "lost" else ""
            message = f"retrying on {node.text!r} is not supported by this version{why}"
            report.add(node, path, message)
            return BAD
    return expected("failed or timeout", node, path, report)


def items_of(node: Node) -> list[Node]:
    """What a list holds, or the one thing that stands for a list of one."""
    return node.items if isinstance(node, Sequence) else [node]
