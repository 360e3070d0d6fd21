"""YAML text → nodes, from the parser's events.

Not through yaml's composer or constructors: events carry positions, cost a seventh, need no
recursion (the C composer has none of Python's guards against deep nesting), and never make objects
that a tag asks for. Aliases share their node; what they would expand to is counted, so that a
few lines cannot become a billion values.
"""

from typing import Any

import yaml

from drawbar.document.nodes import (
    MAX_DEPTH,
    MAX_NODES,
    TOO_DEEP,
    TOO_MANY,
    Mapping,
    Node,
    Scalar,
    Sequence,
    Unparsable,
    position_of,
)

_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # libyaml where the wheel has it

_TEXT_TAG = "tag:yaml.org,2002:str"
_PLAIN_TAGS = tuple(f"tag:yaml.org,2002:{t}" for t in ("int", "float", "bool", "null"))
_COLLECTION_TAGS = ("tag:yaml.org,2002:map", "tag:yaml.org,2002:seq")


class _Open:
    """A list or mapping whose end was not read yet."""

    __slots__ = ("anchor", "key", "merges", "node", "size")

    def __init__(self, node: Sequence | Mapping, anchor: str | None) -> None:
        self.node = node
        self.anchor = anchor
        self.key: Scalar | None = None
        self.merges: list[tuple[Scalar, Node]] = []
        self.size = 1


def parse_yaml(text: str) -> Node | None:
    """The root of the only document in `text`; None when it is empty."""
    try:
        return _Composer(text).compose()
    except yaml.MarkedYAMLError as error:
        raise _explained(text, error) from None
    except yaml.reader.ReaderError as error:
        line, column = position_of(text, min(int(error.position), len(text)))
        bad = error.character
        name = f"U+{bad:04X}" if isinstance(bad, int) else repr(bad)
        raise Unparsable(line, column, f"the character {name} is not allowed in YAML") from None


class _Composer:
    def __init__(self, text: str) -> None:
        self._next = _Loader(text).get_event
        self._root: Node | None = None
        self._open: list[_Open] = []
        self._anchors: dict[str, tuple[Node, int] | None] = {}  # None: still open
        self._size = 0

    def compose(self) -> Node | None:
        documents = 0
        while True:
            event = self._next()
            kind = type(event)
            if kind is yaml.ScalarEvent:
                self._scalar(event)
            elif kind is yaml.SequenceStartEvent:
                self._start(event, Sequence(*_at(event)))
            elif kind is yaml.MappingStartEvent:
                self._start(event, Mapping(*_at(event)))
            elif kind is yaml.SequenceEndEvent or kind is yaml.MappingEndEvent:
                self._end()
            elif kind is yaml.AliasEvent:
                self._alias(event)
            elif kind is yaml.DocumentStartEvent:
                documents += 1
                if documents > 1:
                    raise Unparsable(
                        *_at(event), "a second document starts here; a file holds one pipeline"
                    )
            elif kind is yaml.StreamEndEvent:
                return self._root

    def _scalar(self, event: Any) -> None:
        line, column = _at(event)
        plain = event.implicit[0]
        if event.tag is not None and event.tag != "!":
            if event.tag not in (_TEXT_TAG, *_PLAIN_TAGS):
                raise Unparsable(line, column, f"the tag {event.tag!r} is not supported")
            plain = event.tag != _TEXT_TAG
        node = Scalar(line, column, event.value, plain)
        if event.anchor is not None:
            self._anchors[event.anchor] = (node, 1)
        self._place(node, 1)

    def _start(self, event: Any, node: Sequence | Mapping) -> None:
        if event.tag is not None and event.tag not in (*_COLLECTION_TAGS, "!"):
            raise Unparsable(node.line, node.column, f"the tag {event.tag!r} is not supported")
        if len(self._open) >= MAX_DEPTH:
            raise Unparsable(node.line, node.column, TOO_DEEP)
        if event.anchor is not None:
            self._anchors[event.anchor] = None
        self._open.append(_Open(node, event.anchor))

    def _end(self) -> None:
        closed = self._open.pop()
        if isinstance(closed.node, Mapping) and closed.merges:
            _merge(closed.node, closed.merges)
        if closed.anchor is not None:
            self._anchors[closed.anchor] = (closed.node, closed.size)
        self._place(closed.node, closed.size)

    def _alias(self, event: Any) -> None:
        name = event.anchor
        if name not in self._anchors:
            raise Unparsable(*_at(event), f"the alias *{name} has no anchor &{name} before it")
        known = self._anchors[name]
        if known is None:
            raise Unparsable(*_at(event), f"the alias *{name} contains itself")
        self._place(*known, at=_at(event))

    def _place(self, node: Node, size: int, at: tuple[int, int] | None = None) -> None:
        """`node`, which counts as `size` values, is in the collection that is open."""
        if not self._open:
            self._root = node
            return
        into = self._open[-1]
        into.size += size
        if into.size > MAX_NODES:
            raise Unparsable(*(at or (node.line, node.column)), f"the document {TOO_MANY}")
        if isinstance(into.node, Sequence):
            into.node.items.append(node)
        elif into.key is None:
            if not isinstance(node, Scalar):
                raise Unparsable(node.line, node.column, "a key must be text, not a collection")
            into.key = node
        else:
            key, into.key = into.key, None
            if key.plain and key.text == "<<":
                into.merges.append((key, node))
            else:
                into.node.pairs.append((key, node))


def _merge(into: Mapping, merges: list[tuple[Scalar, Node]]) -> None:
    """`<<: *defaults` was applied: what the mapping says itself wins, then the first source."""
    said = {key.text for key, _ in into.pairs}
    for key, value in merges:
        for source in value.items if isinstance(value, Sequence) else [value]:
            if not isinstance(source, Mapping):
                raise Unparsable(key.line, key.column, "<< takes a mapping or a list of mappings")
            into.pairs += [pair for pair in source.pairs if pair[0].text not in said]
            said.update(key.text for key, _ in source.pairs)


def _at(event: Any) -> tuple[int, int]:
    mark = event.start_mark
    return mark.line + 1, mark.column + 1


def _explained(text: str, error: yaml.MarkedYAMLError) -> Unparsable:
    mark = error.problem_mark or error.context_mark
    line, column = (mark.line + 1, mark.column + 1) if mark is not None else (1, 1)
    written = text.split("\n", line)[line - 1] if line <= text.count("\n") + 1 else ""
    if "\t" in written[: len(written) - len(written.lstrip())]:
        return Unparsable(line, 1, "a tab is used for indentation; YAML takes only spaces")
    if "${{" in written:
        return Unparsable(line, column, "put quotes around text with ${{ … }} inside of { } or [ ]")
    problem = error.problem or "cannot be parsed"
    context = f" {error.context}" if error.context else ""
    return Unparsable(line, column, f"this is not YAML:{context}: {problem}".replace("::", ":"))
