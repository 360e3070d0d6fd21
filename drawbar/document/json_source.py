"""JSON text → nodes. The standard library's parser keeps no positions, so this one does the
structure and leaves strings to the standard library's scanner."""

import re
from bisect import bisect_right
from json.decoder import JSONDecodeError
from json.decoder import scanstring as _scanstring  # type: ignore[attr-defined]  # not in typeshed
from typing import cast

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
)

_SPACE = re.compile(r"[ \t\n\r]*")
_SPACES = frozenset(" \t\n\r")
_WORD = re.compile(r"(?:true|false|null|-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?)\b")


def parse_json(text: str) -> Node | None:
    """The root value of `text`; None when it is empty."""
    return _Parser(text).parse()


class _Parser:
    def __init__(self, text: str) -> None:
        self._text = text
        self._lines = [0, *(m.end() for m in re.finditer("\n", text))]
        self._line, self._starts, self._ends = 0, 0, 0  # the line that was asked for last
        self._at = 0
        self._count = 0

    def parse(self) -> Node | None:
        if not self._peek():
            return None
        root = self._value(0)
        if self._peek():
            raise self._error("the document ends before this; there is more text after it")
        return root

    def _value(self, depth: int) -> Node:
        first = self._peek()
        start = self._at
        line, column = self._position(start)
        self._count += 1
        if self._count > MAX_NODES:
            raise self._error(f"the document {TOO_MANY}")
        if first == '"':
            return Scalar(line, column, self._string(), plain=False)
        if first in ("{", "["):
            if depth >= MAX_DEPTH:
                raise self._error(TOO_DEEP)
            self._at += 1
            return (
                self._mapping(Mapping(line, column), depth)
                if first == "{"
                else self._sequence(Sequence(line, column), depth)
            )
        word = _WORD.match(self._text, start)
        if word is None:
            raise self._error(f"this is not JSON: expected a value, found {self._found()}")
        self._at = word.end()
        return Scalar(line, column, word.group(), plain=True)

    def _mapping(self, node: Mapping, depth: int) -> Mapping:
        if self._took("}"):
            return node
        while True:
            if self._peek() != '"':
                raise self._error(
                    f"this is not JSON: expected a key in double quotes, found {self._found()}"
                )
            line, column = self._position(self._at)
            key = Scalar(line, column, self._string(), plain=False)
            if not self._took(":"):
                raise self._error(f"this is not JSON: expected ':', found {self._found()}")
            node.pairs.append((key, self._value(depth + 1)))
            if self._took("}"):
                return node
            if not self._took(","):
                raise self._error(f"this is not JSON: expected ',' or '}}', found {self._found()}")

    def _sequence(self, node: Sequence, depth: int) -> Sequence:
        if self._took("]"):
            return node
        while True:
            node.items.append(self._value(depth + 1))
            if self._took("]"):
                return node
            if not self._took(","):
                raise self._error(f"this is not JSON: expected ',' or ']', found {self._found()}")

    def _string(self) -> str:
        try:
            text, self._at = cast(tuple[str, int], _scanstring(self._text, self._at + 1, True))
        except JSONDecodeError as error:
            raise Unparsable(error.lineno, error.colno, f"this is not JSON: {error.msg}") from None
        if not text.isascii() and any("\ud800" <= c <= "\udfff" for c in text):
            raise self._error("this is not JSON: half of a surrogate pair is no character")
        return text

    def _peek(self) -> str:
        """The next character that is not a space; empty at the end."""
        first = self._text[self._at : self._at + 1]
        if first not in _SPACES:
            return first
        self._at = _SPACE.match(self._text, self._at).end()  # type: ignore[union-attr]  # matches ""
        return self._text[self._at : self._at + 1]

    def _took(self, character: str) -> bool:
        if self._peek() != character:
            return False
        self._at += 1
        return True

    def _position(self, offset: int) -> tuple[int, int]:
        if not self._starts <= offset < self._ends:
            line = bisect_right(self._lines, offset)
            self._line = line
            self._starts = self._lines[line - 1]
            self._ends = self._lines[line] if line < len(self._lines) else len(self._text) + 1
        return self._line, offset - self._starts + 1

    def _found(self) -> str:
        return repr(self._text[self._at]) if self._at < len(self._text) else "the end of the file"

    def _error(self, message: str) -> Unparsable:
        return Unparsable(*self._position(min(self._at, len(self._text))), message)
