"""`params:` of a document, and the values that the command line gives them."""

import re
from collections.abc import Mapping as Given
from dataclasses import dataclass
from typing import Any, Final

from drawbar.document import readers
from drawbar.document.fields import PARAM
from drawbar.document.mistakes import WHOLE_FILE, Path, Report
from drawbar.document.nodes import NOTHING, Mapping, Node, Scalar, describe
from drawbar.document.readers import BAD
from drawbar.document.tables import is_comment, read_mapping

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")
_WANTED: Final = {"int": "a whole number", "number": "a number", "bool": "true or false"}
_READERS: Final = {"int": readers.whole, "number": readers.number, "bool": readers.truth}


@dataclass(frozen=True, slots=True)
class Value:
    """What a template writes: `text`; alone in a field, it counts as `plain` or as quoted."""

    text: str
    plain: bool
    typed: Any  # as the pipeline records it
    is_good: bool = True  # False: there was a mistake, which was reported


_BAD: Final = Value("", plain=False, typed="", is_good=False)


def read_params(node: Node | None, given: Given[str, str], report: Report) -> dict[str, Value]:
    """The value of every parameter; with a mistake, one that lets reading go on."""
    values: dict[str, Value] = {}
    known: list[str] = []
    if node is not None and not isinstance(node, Mapping):
        readers.expected("a mapping of names to defaults", node, ("params",), report)
    elif node is not None:
        for key, said in node.pairs:
            path: Path = ("params", key.text)
            if is_comment(key.text):
                continue
            if not _NAME.fullmatch(key.text):
                wanted = "(letters, digits, - and _, no digit first)"
                name = key.text[:100]
                report.add(key, path, f"params: {name!r} is not a name for a parameter {wanted}")
            elif key.text in values:
                report.add(key, path, f"{key.text!r} is given twice")
            else:
                known.append(key.text)
                values[key.text] = _value(key, said, given.get(key.text), path, report)
    for name in given:
        if name not in values:
            hint = report.hint(name[:100], lambda: known)
            report.add(WHOLE_FILE, (), f"it has no parameter {name[:100]!r}{hint}")
    return values


def _value(key: Scalar, node: Node, given: str | None, path: Path, report: Report) -> Value:
    """One parameter: `given` to it, or its default."""
    name = key.text
    kind: str | None = None
    choices: tuple[str, ...] = ()
    default: Node | None = node
    if isinstance(node, Mapping):
        read = read_mapping(node, PARAM, path, report)
        default = read.nodes.get("default")
        choices = read.values.get("choices", ())
        kind = read.values.get("type", "choice" if choices else "string")
        if kind == "choice" and not choices and "choices" not in read.nodes:
            report.add(key, path, f"parameter {name!r} is a choice, but has no choices")
        if len(read.nodes) < len(read.values) or "default" in read.nodes.keys() - read.values:
            return _BAD
    elif not isinstance(node, Scalar):
        readers.expected("a default, or a mapping with type and default", node, path, report)
        return _BAD
    if given is not None:
        node_given = Scalar(key.line, key.column, given, plain=True)
        return _typed(name, node_given, kind, choices, path, report, is_given=True)
    if not isinstance(default, Scalar) or (default.is_nothing and kind != "string"):
        if default is None or not isinstance(default, Mapping):
            message = f"parameter {name!r} has no default: give it a value with --param {name}=…"
            report.add(key, path, message)
        return _BAD
    return _typed(name, default, kind, choices, path, report, is_given=False)


def _typed(
    name: str,
    node: Scalar,
    kind: str | None,
    choices: tuple[str, ...],
    path: Path,
    report: Report,
    *,
    is_given: bool,
) -> Value:
    text = node.text
    place = node if not is_given else WHOLE_FILE
    whose = f"--param {name}" if is_given else f"params.{name}"
    if choices and text not in choices:
        listed = ", ".join(choices[:20])
        report.add(place, path, f"{whose}: expected one of {listed}, found {text[:100]!r}")
        return _BAD
    if kind not in _READERS:
        # Without a type it may stand for anything; with one it is text, whatever it looks like.
        return Value(text, kind is None and text not in NOTHING, text)
    unseen = Report(["?"])
    typed = _READERS[kind](Scalar(1, 1, text, plain=node.plain or is_given), path, unseen)
    if typed is BAD:
        report.add(place, path, f"{whose}: expected {_WANTED[kind]}, found {describe(node)}")
        return _BAD
    return Value(text, True, typed)
