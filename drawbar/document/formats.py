"""Readers of values with a format of their own: addresses, patterns, axes, cron."""

import re
from typing import Any, Final

from drawbar.document.mistakes import Path, Report
from drawbar.document.nodes import Mapping, Node, Scalar, Sequence
from drawbar.document.readers import BAD, TRUTH, expected, list_of, text, texts

_ADDRESS = re.compile(r"[^@\s<>\x00-\x1f]+@[^@\s<>\x00-\x1f]+")
_URL = re.compile(r"https?://[^\s/]\S*")
_SIZE = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*(?:([kKMGT])(B|iB)?)?", re.ASCII)
_POWER: Final = {"K": 1, "M": 2, "G": 3, "T": 4}
_AXIS = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")
_NAME_PATH: Final = r"[^\W\d]\w*(?:\.[^\W\d]\w*)*"
_FUNCTION: Final = re.compile(f"({_NAME_PATH}):({_NAME_PATH})")
_CRON = re.compile(r"@[a-z]+|[-0-9A-Za-z*/,?#]+(?:[ \t]+[-0-9A-Za-z*/,?#]+){4}")


def addresses(node: Node, path: Path, report: Report) -> Any:
    """Mail addresses, as a list or in one text with commas, each once."""

    def one(item: Node, where: Path, report: Report) -> Any:
        said = text(item, where, report)
        if said is BAD:
            return BAD
        found = [word for word in re.split(r"[,;\s]+", said) if word]
        if not found or not all(_ADDRESS.fullmatch(word) for word in found):
            return expected("mail addresses such as ops@example.org", item, where, report)
        return found

    found = list_of(node, path, report, one, "a list of mail addresses")
    return found if found is BAD else tuple(dict.fromkeys(a for some in found for a in some))


def size(node: Node, path: Path, report: Report) -> Any:
    """Bytes: 512M and 512MiB are 1024-fold, as memory is counted; 512MB is 1000-fold."""
    match = _SIZE.fullmatch(node.text) if isinstance(node, Scalar) else None
    if match is None or (match[2] is None and "." in match[1]) or len(match[1]) > 20:
        return expected("a size such as 1048576, 512M or 1.5G", node, path, report)
    unit = 1_000 if match[3] == "B" else 1_024
    return int(float(match[1]) * unit ** _POWER[match[2].upper()]) if match[2] else int(match[1])


def url(node: Node, path: Path, report: Report) -> Any:
    if isinstance(node, Scalar) and _URL.fullmatch(node.text):
        return node.text
    return expected("an address that begins with http:// or https://", node, path, report)


def patterns(node: Node, path: Path, report: Report) -> Any:
    """Regular expressions that compile."""

    def one(item: Node, where: Path, report: Report) -> Any:
        said = text(item, where, report)
        try:
            return said if said is BAD else re.compile(said) and said
        except (re.error, RecursionError, OverflowError) as error:
            report.add(item, where, f"{said[:100]!r} is not a regular expression: {error}")
            return BAD

    return list_of(node, path, report, one, "a list of regular expressions")


def axes(node: Node, path: Path, report: Report) -> Any:
    """The values of a matrix: a name and the texts that it takes, for each of its axes."""
    if not isinstance(node, Mapping):
        return expected("a mapping of names to lists of values", node, path, report)
    found: dict[str, tuple[str, ...]] = {}
    is_bad = not node.pairs
    if is_bad:
        report.add(node, path, "the matrix lists no values")
    for key, value in node.pairs:
        where = (*path, key.text)
        values = texts(value, where, report)
        if not _AXIS.fullmatch(key.text):
            name = f"{key.text[:100]!r} is not a name for an axis"
            report.add(key, where, f"matrix: {name} (letters, digits, - and _, no digit first)")
        elif key.text in found:
            report.add(key, where, f"{key.text!r} is given twice")
        elif values == ():
            report.add(value, where, f"matrix.{key.text}: lists no values")
        elif values is not BAD and (wrong := _unfit(values)):
            report.add(value, where, f"matrix.{key.text}: {wrong}")
        elif values is not BAD:
            found[key.text] = values
            continue
        is_bad = True
    return BAD if is_bad else found


def _unfit(values: tuple[str, ...]) -> str | None:
    """Why these cannot be the values of an axis: ids are made of them."""
    seen: set[str] = set()
    for value in values:
        if not value or any(c in "/,=[]" or c < " " for c in value):
            return f"{value[:100]!r} must not be empty nor hold / , = [ ] or control characters"
        if value in seen:
            return f"{value[:100]!r} is listed twice"
        seen.add(value)
    return None


def inheritance(node: Node, path: Path, report: Report) -> Any:
    """true, false, "default" or the names of variables."""
    if isinstance(node, Sequence):
        return texts(node, path, report)
    if isinstance(node, Scalar):
        if node.text.lower() == "default":
            return "default"
        if node.text.lower() in TRUTH:
            return TRUTH[node.text.lower()]
    return expected('true, false, "default" or a list of variables', node, path, report)


def function(node: Node, path: Path, report: Report) -> Any:
    """A module and a function in it, as names: (module, function)."""
    found = _FUNCTION.fullmatch(node.text.strip()) if isinstance(node, Scalar) else None
    if found is None:
        return expected("module:function, for example etl.load:main", node, path, report)
    return found.groups()


def cron(node: Node, path: Path, report: Report) -> Any:
    """Five fields, or a word such as @daily, that mean something."""
    if not (isinstance(node, Scalar) and _CRON.fullmatch(node.text.strip())):
        return expected('five fields such as "0 3 * * *", or @daily', node, path, report)
    from shared.cron import BadSchedule, Cron  # few documents need it

    try:
        return Cron(node.text.strip(), "UTC").text
    except BadSchedule as bad:
        report.add(node, path, f"schedule: {bad}")
        return BAD


def timezone(node: Node, path: Path, report: Report) -> Any:
    """A name that this machine's table of time zones has."""
    from zoneinfo import ZoneInfo  # few documents need it

    said = text(node, path, report)
    if said is BAD:
        return BAD
    try:
        ZoneInfo(said)
    except (KeyError, ValueError, OSError):
        return expected("a time zone such as Europe/Berlin", node, path, report)
    return said
