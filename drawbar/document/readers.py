"""One reader per kind of value: node in, value out, or a mistake that says what was expected."""

import re
from collections.abc import Callable, Iterator
from collections.abc import Mapping as Mapping_
from typing import Any, Final

from drawbar.document.mistakes import Path, Report
from drawbar.document.nodes import Mapping, Node, Scalar, Sequence, Unfilled, describe
from shared.protocol.pipeline import MAX_DURATION_S, RetryOn

BAD: Final = object()  # what a reader returns after it reported a mistake

Reader = Callable[[Node, Path, Report], Any]

_WHOLE = re.compile(r"[-+]?[0-9](?:_?[0-9])*", re.ASCII)
_DURATION = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*(ms|s|m|h|d)?", re.ASCII)
_DECIMAL = re.compile(r"[-+]?(?:[0-9]+\.[0-9]*|\.[0-9]+|[0-9]+(?=[eE]))(?:[eE][-+]?[0-9]+)?")
_UNIT_S: Final = {"ms": 0.001, None: 1.0, "s": 1.0, "m": 60.0, "h": 3_600.0, "d": 86_400.0}
TRUTH: Final = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}
STATUSES: Final = {
    **{status.value: status for status in RetryOn},
    "error": RetryOn.FAILED,  # the Executioner's word for a command that could not run
}


def expected(what: str, node: Node, path: Path, report: Report) -> Any:
    """BAD; the report says that the field at `path` wants `what`."""
    if isinstance(node, Unfilled):
        return BAD  # follows from a mistake that is reported already
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
    if isinstance(node, Scalar) and node.plain and node.text.lower() in TRUTH:
        return TRUTH[node.text.lower()]
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
    return list_of(node, path, report, text, "a list of texts")


def exit_codes(node: Node, path: Path, report: Report) -> Any:
    return list_of(node, path, report, whole, "a list of exit codes")


def one_of(words: Mapping_[str, Any]) -> Reader:
    """A reader of one of `words`, in any case, that gives what the word stands for."""
    listed = " or ".join(words)

    def read(node: Node, path: Path, report: Report) -> Any:
        if isinstance(node, Scalar) and node.text.lower() in words:
            return words[node.text.lower()]
        return expected(listed, node, path, report)

    return read


def some_of(words: Mapping_[str, Any]) -> Reader:
    """A reader of a list of such words, each once; one word alone is a list of one."""
    one = one_of(words)

    def read(node: Node, path: Path, report: Report) -> Any:
        found = list_of(node, path, report, one, f"a list of {', '.join(words)}")
        return found if found is BAD else tuple(dict.fromkeys(found))

    return read


def variables(node: Node, path: Path, report: Report) -> Any:
    """A mapping of texts; numbers and booleans keep the text that they were written as.

    What has a mistake is left out, so that the rest can be checked as well.
    """
    if not isinstance(node, Mapping):
        return expected("a mapping of names to texts", node, path, report)
    values: dict[str, str] = {}
    for key, value in once_each(node, path, report):
        read = text(value, (*path, key.text), report)
        if read is not BAD:
            values[key.text] = read
    return values


def once_each(node: Mapping, path: Path, report: Report) -> Iterator[tuple[Scalar, Node]]:
    """The pairs of a mapping. A key that was there before is reported, and left out."""
    keys: dict[str, Scalar] = {}
    for key, value in node.pairs:
        name = key.text
        if name in keys:
            again = f"{name[:100]!r} is given twice (see {report.see(keys[name], key)})"
            report.add(key, (*path, name), again)
            continue
        keys[name] = key
        yield key, value


def anything(node: Node, path: Path, report: Report) -> Any:
    """What JSON would say here: for parameters of checks, whose meaning only the check knows."""
    if isinstance(node, Sequence):
        items = [anything(item, (*path, i), report) for i, item in enumerate(node.items)]
        return BAD if BAD in items else items
    if isinstance(node, Mapping):
        values: dict[str, Any] = {}
        for key, value in node.pairs:
            if key.text in values:
                report.add(key, (*path, key.text), f"{key.text[:100]!r} is given twice")
            values[key.text] = anything(value, (*path, key.text), report)
        return BAD if BAD in values.values() else values
    if not node.plain:
        return node.text
    if node.is_nothing:
        return None
    if node.text.lower() in TRUTH:
        return TRUTH[node.text.lower()]
    return _number_or_text(node.text)


def _number_or_text(written: str) -> int | float | str:
    if len(written) < 100:
        if _WHOLE.fullmatch(written):
            return int(written)
        if _DECIMAL.fullmatch(written) and abs(float(written)) < float("inf"):
            return float(written)
    return written


def settings(node: Node, path: Path, report: Report) -> Any:
    """A mapping of names to anything."""
    if not isinstance(node, Mapping):
        return expected("a mapping of names to values", node, path, report)
    return anything(node, path, report)


def list_of(node: Node, path: Path, report: Report, read: Reader, what: str) -> Any:
    """A list of what `read` takes; one alone is a list of one. `what` says so in the message."""
    if isinstance(node, Mapping):
        return expected(what, node, path, report)
    if isinstance(node, Scalar):
        one = read(node, path, report)
        return BAD if one is BAD else (one,)
    found = [read(item, (*path, i), report) for i, item in enumerate(node.items)]
    return BAD if BAD in found else tuple(found)


def items_of(node: Node) -> list[Node]:
    """What a list holds, or the one thing that stands for a list of one."""
    return node.items if isinstance(node, Sequence) else [node]
