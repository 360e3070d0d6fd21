"""TOML text → nodes. tomllib decides what is TOML and what it says, but keeps no positions; a
second pass over the text, which is known to be good by then, finds where each value stands."""

import re
import tomllib
from bisect import bisect_right
from typing import Any

from drawbar.document.mistakes import Path
from drawbar.document.nodes import (
    MAX_DEPTH,
    TOO_DEEP,
    Mapping,
    Node,
    Scalar,
    Sequence,
    Unparsable,
)

_SPACE = re.compile(r"(?:[ \t\r\n]+|#[^\n]*)*")
_BLANK = re.compile(r"[ \t]*")
_KEY = re.compile(r"""[A-Za-z0-9_-]+|"(?:[^"\\\n]|\\.)*"|'[^'\n]*'""")
_VALUE = re.compile(
    r'"""(?:[^\\]|\\.)*?"{3,5}(?!")'
    r"|'''.*?'{3,5}(?!')"
    r'|"(?:[^"\\\n]|\\.)*"'
    r"|'[^'\n]*'"
    r"|\d{4}-\d\d-\d\d \d\d[^\s,\]}#]*"
    r"|[^\s,\]}#]+",
    re.DOTALL,
)
_ERROR_PLACE = re.compile(r" \(at (?:line (\d+), column (\d+)|end of document)\)$")


def parse_toml(text: str) -> Node:
    """The table that `text` is."""
    text = text.replace("\r\n", "\n")  # as tomllib does, so that offsets agree
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise _explained(text, error) from None
    except RecursionError:
        raise Unparsable(1, 1, TOO_DEEP) from None
    except ValueError as error:  # a number or date out of Python's range
        raise Unparsable(1, 1, f"this is not TOML: {error}") from None
    places = _Places(text)
    places.find()
    return _built(data, (), places, Mapping(1, 1))


class _Places:
    """Where keys and values stand: offsets by path, and the text of plain values."""

    def __init__(self, text: str) -> None:
        self.keys: dict[Path, int] = {}
        self.values: dict[Path, tuple[int, str]] = {}
        self._text = text
        self._lines = [0, *(m.end() for m in re.finditer("\n", text))]
        self._at = 0
        self._counts: dict[Path, int] = {}  # arrays of tables: the index of the last one

    def position(self, offset: int) -> tuple[int, int]:
        line = bisect_right(self._lines, offset)
        return line, offset - self._lines[line - 1] + 1

    def find(self) -> None:
        table: Path = ()
        while self._peek():
            if self._text.startswith("[", self._at):
                table = self._header()
            else:
                self._pair(table)

    def _header(self) -> Path:
        start = self._at
        is_array = self._text.startswith("[[", start)
        self._at += 2 if is_array else 1
        *parents, (last, _) = self._dotted()
        self._at = self._text.index("]", self._at) + (2 if is_array else 1)
        path: Path = ()
        for name, _ in parents:
            path = self._inside((*path, name), start)
        path = (*path, last)
        self.keys.setdefault(path, start)
        if is_array:
            self._counts[path] = self._counts.get(path, -1) + 1
            path = (*path, self._counts[path])
        self.values.setdefault(path, (start, ""))
        return path

    def _inside(self, path: Path, offset: int) -> Path:
        self.keys.setdefault(path, offset)
        return (*path, self._counts[path]) if path in self._counts else path

    def _pair(self, table: Path) -> None:
        path = table
        for name, offset in self._dotted():
            path = (*path, name)
            self.keys.setdefault(path, offset)
        self._at = self._text.index("=", self._at) + 1
        self._value(path)

    def _value(self, path: Path) -> None:
        first = self._peek()
        self.values[path] = (self._at, "")
        if first == "[":
            self._at += 1
            index = 0
            while self._peek() != "]":
                self._value((*path, index))
                index += 1
                if self._peek() == ",":
                    self._at += 1
            self._at += 1
        elif first == "{":
            self._at += 1
            while self._peek() != "}":
                self._pair(path)
                if self._peek() == ",":
                    self._at += 1
            self._at += 1
        else:
            word = _VALUE.match(self._text, self._at)
            assert word is not None, "tomllib accepted the text"
            self.values[path] = (self._at, word.group())
            self._at = word.end()

    def _dotted(self) -> list[tuple[str, int]]:
        """The parts of a key, each with its offset; what follows the key is next."""
        parts = []
        while True:
            self._at = _BLANK.match(self._text, self._at).end()  # type: ignore[union-attr]  # matches ""
            word = _KEY.match(self._text, self._at)
            assert word is not None, "tomllib accepted the text"
            parts.append((_unquoted(word.group()), self._at))
            self._at = _BLANK.match(self._text, word.end()).end()  # type: ignore[union-attr]  # matches ""
            if not self._text.startswith(".", self._at):
                return parts
            self._at += 1

    def _peek(self) -> str:
        """The next character that is neither space nor comment; empty at the end."""
        self._at = _SPACE.match(self._text, self._at).end()  # type: ignore[union-attr]  # matches ""
        return self._text[self._at : self._at + 1]


def _built(data: Any, path: Path, places: _Places, outer: Node) -> Node:
    """The node for `data`; a place that was not found is that of the value around it."""
    if len(path) > MAX_DEPTH:
        raise Unparsable(outer.line, outer.column, TOO_DEEP)
    offset, raw = places.values.get(path) or (places.keys.get(path), "")
    line, column = (outer.line, outer.column) if offset is None else places.position(offset)
    if isinstance(data, dict):
        mapping = Mapping(line, column)
        for key, value in data.items():
            at = places.keys.get((*path, key))
            where = (line, column) if at is None else places.position(at)
            node = _built(value, (*path, key), places, mapping)
            mapping.pairs.append((Scalar(*where, key, plain=False), node))
        return mapping
    if isinstance(data, list):
        sequence = Sequence(line, column)
        sequence.items = [
            _built(value, (*path, i), places, sequence) for i, value in enumerate(data)
        ]
        return sequence
    if isinstance(data, str):
        return Scalar(line, column, data, plain=False)
    return Scalar(line, column, raw or str(data), plain=True)


def _unquoted(key: str) -> str:
    if key[0] == '"':
        [name] = tomllib.loads(f"{key} = 0")
        return name
    return key.strip("'")


def _explained(text: str, error: tomllib.TOMLDecodeError) -> Unparsable:
    place = _ERROR_PLACE.search(str(error))
    message = "this is not TOML: " + _ERROR_PLACE.sub("", str(error))
    if place is None or place[1] is None:
        return Unparsable(text.count("\n", 0, len(text.rstrip())) + 1, 1, message)
    return Unparsable(int(place[1]), int(place[2]), message)
