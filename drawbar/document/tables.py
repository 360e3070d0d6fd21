"""How a mapping of a document is read: through a table of its fields, whatever they are called."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from drawbar.document.mistakes import Path, Report
from drawbar.document.nodes import Mapping as MappingNode
from drawbar.document.nodes import Node, Scalar
from drawbar.document.readers import BAD, Reader, expected, once_each


@dataclass(frozen=True, slots=True, eq=False)
class Kind:
    """What a field holds: how it is read, and what an editor is told of it."""

    name: str
    read: Reader
    schema: Mapping[str, Any]
    block: "Table | None" = None  # the fields inside, where it is a mapping of such


@dataclass(frozen=True, slots=True, eq=False)
class Field:
    """`place` is where the value goes in the canonical model ("retry.max_time_s": in the rule)."""

    place: str
    names: tuple[str, ...]  # its own first, then other spellings
    kind: Kind
    about: str
    example: Any


@dataclass(frozen=True, slots=True, eq=False)
class Table:
    """The fields of one kind of mapping, by every spelling."""

    fields: Mapping[str, Field]
    later: Mapping[str, str] = field(default_factory=dict)  # known but not taken here: and why
    alternatives: frozenset[str] = frozenset()  # places of which a mapping gives one
    required: tuple[str, ...] = ()  # places

    def distinct(self) -> list[Field]:
        """Each field once, in the order of the table."""
        return list(dict.fromkeys(self.fields.values()))


def table(fields: Iterable[Field], **more: Any) -> Table:
    return Table({name: f for f in fields for name in f.names}, **more)


@dataclass(slots=True)
class Read:
    """What a mapping said: values by place, and the nodes they were read from.

    A place that is in `nodes` but not in `values` had a mistake, which was reported.
    """

    values: dict[str, Any]
    nodes: dict[str, Node]
    names: dict[str, str]  # place → the name it was written under


def read_mapping(node: MappingNode, table: Table, path: Path, report: Report) -> Read:
    """Every field of `node`. Nothing (null) counts as not given; comments are passed over."""
    read = Read({}, {}, {})
    keys: dict[str, Scalar] = {}
    for key, value in once_each(node, path, report):
        name = key.text
        keys[name] = key
        field = table.fields.get(name)
        if field is None:
            _refuse(key, table, path, report)
        elif not (isinstance(value, Scalar) and value.is_nothing):
            if field.place in read.nodes:
                other = read.names[field.place]
                there = report.see(keys[other], key)
                report.add(
                    key, (*path, name), f"{name!r} says the same as {other!r} ({there}); give one"
                )
                continue
            read.nodes[field.place] = value
            read.names[field.place] = name
            found = field.kind.read(value, (*path, name), report)
            if found is not BAD:
                read.values[field.place] = found
    return read


def is_comment(name: str) -> bool:
    """Keys that people switched off, or keep anchors under."""
    return name.startswith(("_", "x-"))


def block(name: str, table: Table, like: str) -> Kind:
    """A mapping with fields of its own; `like` is one, for the message."""

    def read(node: Node, path: Path, report: Report) -> Any:
        if not isinstance(node, MappingNode):
            return expected(f"a mapping such as {like}", node, path, report)
        return read_mapping(node, table, path, report).values

    return Kind(name, read, {}, table)


def _refuse(key: Scalar, table: Table, path: Path, report: Report) -> None:
    name = key.text
    if is_comment(name):
        return
    if name in table.later:
        message = f"field {name!r} {table.later[name]}"
    else:
        hint = report.hint(name[:100], lambda: [*table.fields, *table.later])
        message = f"unknown field {name[:100]!r}{hint}"
    report.add(key, (*path, name), message)
