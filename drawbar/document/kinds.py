"""The kinds of values that fields hold: each with its reader, and its JSON Schema for editors.

A schema here allows `null`, which counts as not given, and `${{ … }}` where a number or a truth is
wanted. The rules beyond it (unknown names, circles) only the loader knows.
"""

from collections.abc import Mapping
from typing import Any, Final

from drawbar.document import formats, readers
from drawbar.document.mistakes import Path, Report
from drawbar.document.nodes import Mapping as MappingNode
from drawbar.document.nodes import Node, Scalar, Sequence
from drawbar.document.readers import expected
from drawbar.document.tables import Kind
from shared.protocol.pipeline import CatchUp, NotifyOn, OnError, OnLost, Overlap, Pull, When

_SCALAR: Final = ["string", "number", "boolean", "null"]
_TEMPLATE: Final = {"type": "string", "pattern": r"^\$\{\{.*\}\}$"}
_NULL: Final = {"type": "null"}
_TEXTS: Final = {"anyOf": [{"type": "array", "items": {"type": _SCALAR}}, {"type": _SCALAR}]}
_DURATION: Final = {
    "anyOf": [
        {"type": "number", "minimum": 0},
        {"type": "string", "pattern": r"^[0-9]+(\.[0-9]+)?\s*(ms|s|m|h|d)?$"},
        _TEMPLATE,
        _NULL,
    ]
}


def _as_it_is(node: Node, path: Path, report: Report) -> Any:
    """Lists of stages and jobs, and what is resolved before: others know their shape."""
    return node


def words(name: str, known: Mapping[str, Any]) -> Kind:
    """One of some words."""
    return Kind(name, readers.one_of(known), {"enum": [*known, None]})


def _named(choices: Any) -> dict[str, Any]:
    return {choice.value: choice for choice in choices}


def _some(known: Mapping[str, Any]) -> dict[str, Any]:
    one = {"enum": [*known, *(word.upper() for word in known)]}
    return {"anyOf": [{"type": "array", "items": one}, one, _NULL]}


TEXT: Final = Kind("text", readers.text, {"type": _SCALAR})
TEXTS: Final = Kind("list of texts", readers.texts, _TEXTS)
TRUTH: Final = Kind(
    "true or false",
    readers.truth,
    {"anyOf": [{"type": ["boolean", "null"]}, {"enum": ["yes", "no", "on", "off"]}, _TEMPLATE]},
)
WHOLE: Final = Kind(
    "whole number", readers.whole, {"anyOf": [{"type": ["integer", "null"]}, _TEMPLATE]}
)
NUMBER: Final = Kind("number", readers.number, {"anyOf": [{"type": ["number", "null"]}, _TEMPLATE]})
DURATION: Final = Kind("duration", readers.duration, _DURATION)
LIMIT: Final = Kind("duration above zero", readers.limit, _DURATION)
SIZE: Final = Kind(
    "size",
    formats.size,
    {
        "anyOf": [
            {"type": "integer", "minimum": 0},
            {"type": "string", "pattern": r"^[0-9]+(\.[0-9]+)?\s*([kKMGT](i?B)?)?$"},
            _TEMPLATE,
            _NULL,
        ]
    },
)
EXIT_CODES: Final = Kind(
    "list of whole numbers",
    readers.exit_codes,
    {"anyOf": [{"type": "array", "items": {"type": "integer"}}, {"type": ["integer", "null"]}]},
)
RETRY_ON: Final = Kind(
    "list of failures", readers.some_of(readers.STATUSES), _some(readers.STATUSES)
)
VARIABLES: Final = Kind(
    "mapping of texts",
    readers.variables,
    {"type": ["object", "null"], "additionalProperties": {"type": _SCALAR[:3]}},
)
SETTINGS: Final = Kind("mapping", readers.settings, {"type": ["object", "null"]})
MATRIX: Final = Kind(
    "mapping of lists",
    formats.axes,
    {"type": ["object", "null"], "additionalProperties": _TEXTS, "minProperties": 1},
)
ADDRESSES: Final = Kind("mail addresses", formats.addresses, _TEXTS)
URL: Final = Kind(
    "URL", formats.url, {"anyOf": [{"type": "string", "pattern": "^https?://"}, _TEMPLATE, _NULL]}
)
PATTERNS: Final = Kind("list of patterns", formats.patterns, _TEXTS)
INHERIT: Final = Kind(
    "inheritance",
    formats.inheritance,
    {
        "anyOf": [
            {"type": ["boolean", "null"]},
            {"const": "default"},
            {"type": "array", "items": {"type": "string"}},
        ]
    },
)
FUNCTION: Final = Kind(
    "module:function",
    formats.function,
    {"anyOf": [{"type": "string", "pattern": r"^\s*[^\s:]+:[^\s:]+\s*$"}, _TEMPLATE, _NULL]},
)
CRON: Final = Kind("cron", formats.cron, {"type": ["string", "null"]})
TIMEZONE: Final = Kind("time zone", formats.timezone, {"type": ["string", "null"]})
FILES: Final = Kind("list of files", _as_it_is, _TEXTS)
PARAMS: Final = Kind("parameters", _as_it_is, {})
STAGES: Final = Kind("stages", _as_it_is, {})
JOBS: Final = Kind("jobs", _as_it_is, {})

WHEN: Final = words("when", _named(When))
PULL: Final = words("pull", _named(Pull))
ON_ERROR: Final = words("on error", _named(OnError))
ON_LOST: Final = words("on lost", _named(OnLost))
CATCH_UP: Final = words("catch up", _named(CatchUp))
OVERLAP: Final = words("overlap", _named(Overlap))
NOTIFY_ON: Final = Kind(
    "list of events", readers.some_of(_named(NotifyOn)), _some(_named(NotifyOn))
)
POLICY: Final = words("policy", {"off": "off", "warn": "warn", "block": "block", "strict": "block"})
LEVEL: Final = words("level", {"low": "low", "medium": "medium", "high": "high"})


def checks(one: Kind) -> Kind:
    """A list of checks, each a mapping or the mere name of one without parameters."""

    def read_one(node: Node, path: Path, report: Report) -> Any:
        if isinstance(node, Scalar) and not node.is_nothing:
            return {"name": node.text}
        found = one.read(node, path, report)
        return _needing("name", found, node, path, "the check has no name", report)

    def read(node: Node, path: Path, report: Report) -> Any:
        if not isinstance(node, Sequence):
            return expected("a list of checks", node, path, report)
        found = [read_one(item, (*path, i), report) for i, item in enumerate(node.items)]
        return readers.BAD if readers.BAD in found else tuple(found)

    return Kind("checks", read, {}, one.block)


def schedule(settings: Kind) -> Kind:
    """A mapping of such settings, or cron alone."""

    def read(node: Node, path: Path, report: Report) -> Any:
        if isinstance(node, Scalar):
            found = formats.cron(node, path, report)
            return found if found is readers.BAD else {"cron": found}
        found = settings.read(node, path, report)
        return _needing("cron", found, node, path, "the schedule has no cron", report)

    return Kind("schedule or cron", read, {}, settings.block)


def artifacts(settings: Kind) -> Kind:
    """A mapping of such settings, or paths alone."""

    def read(node: Node, path: Path, report: Report) -> Any:
        if not isinstance(node, MappingNode):
            return readers.texts(node, path, report)
        found = settings.read(node, path, report)
        return _needing("paths", found, node, path, "the artifacts have no paths", report)

    return Kind("artifacts", read, _TEXTS, settings.block)


def cache(settings: Kind) -> Kind:
    """A mapping of such settings, with a key and paths."""

    def read(node: Node, path: Path, report: Report) -> Any:
        found = settings.read(node, path, report)
        found = _needing("key", found, node, path, "the cache has no key", report)
        return _needing("paths", found, node, path, "the cache has no paths", report)

    return Kind(settings.name, read, {}, settings.block)


def _needing(field: str, found: Any, node: Node, path: Path, message: str, report: Report) -> Any:
    """What was read of `node`, BAD without that field; the report says why, once."""
    if found is readers.BAD or field in found:
        return found
    assert isinstance(node, MappingNode), "else it was not read"
    if not any(key.text == field for key, _ in node.pairs):
        report.add(node, path, message)
    return readers.BAD
