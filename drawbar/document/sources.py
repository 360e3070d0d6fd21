"""The files that a document is made of: read once each, within bounds, their places kept apart.

A file names others by paths relative to itself. They must lie below the folder of the first file,
links followed: a document that somebody sends cannot make its reader read elsewhere.
"""

import os
import stat
from pathlib import Path
from typing import Final

from drawbar.document.mistakes import FILE_STRIDE, Position
from drawbar.document.nodes import Mapping, Node, Scalar, Sequence, Unparsable, describe

MAX_BYTES: Final = 16 * 1024 * 1024  # of all files together
MAX_TOML_BYTES: Final = 2 * 1024 * 1024  # its parser is many times slower than the others
MAX_NAMED: Final = 100  # how many times files may name others


class Unusable(Exception):
    """A file that cannot be a part; `line` counts in that file, 0: it as a whole."""

    def __init__(self, line: int, message: str, column: int = 1) -> None:
        self.line = line
        self.column = column if line else 0
        self.message = message
        super().__init__(message)


class Sources:
    """`names` are those of the files read so far, as people are told of them."""

    def __init__(self, first: str, folder: Path | None) -> None:
        self.names = [first]
        self.texts: list[str] = []
        self._folder = folder  # None: the document is no file, and names none
        self._size = 0
        self._named = 0

    @property
    def folder(self) -> Path | None:
        return self._folder

    def read_first(self, data: bytes | str) -> Mapping:
        """The mapping at the top of the first file, whose content is `data`. Unusable."""
        return self._parsed(data, self.names[0])

    def find(self, name: str, beside: Path) -> Path:
        """Where the file is that a file in the folder `beside` calls `name`. Unusable."""
        assert self._folder is not None, "asked first"
        self._named += 1
        if self._named > MAX_NAMED:
            raise Unusable(0, f"more than {MAX_NAMED} files are named")
        if "\x00" in name or not name:
            raise Unusable(0, "this is no name of a file")
        if os.path.isabs(name):
            raise Unusable(0, "give a path relative to this file")
        root = self._folder.resolve()
        found = (beside / name).resolve()
        if not found.is_relative_to(root):
            raise Unusable(0, f"lies outside of {root}, the folder of {self.names[0]}")
        return found

    def read_further(self, path: Path) -> Mapping:
        """The mapping at the top of another file, its places shifted. Unusable: see its line.

        The file has a name in `names` also when it could not be used.
        """
        assert self._folder is not None, "asked first"
        first = Path(self.names[0])
        relative = os.path.relpath(path, self._folder.resolve())
        self.names.append(str(first.parent / relative))
        root = self._parsed(_content(path), path.name)
        _shift(root, (len(self.names) - 1) * FILE_STRIDE)
        return root

    def _parsed(self, data: bytes | str, name: str) -> Mapping:
        self._size += len(data)
        if self._size > MAX_BYTES:
            several = " together with the files before it" if self.texts else ""
            raise Unusable(0, f"is larger than {MAX_BYTES // 1024 // 1024} MiB{several}")
        text = _decoded(data) if isinstance(data, bytes) else data.removeprefix("\ufeff")
        self.texts.append(text)
        try:
            root = _syntax(text, name)
        except Unparsable as error:
            raise Unusable(error.line, error.message, error.column) from None
        if root is None or (isinstance(root, Scalar) and root.is_nothing):
            raise Unusable(1, "the file is empty; a pipeline needs at least jobs")
        if not isinstance(root, Mapping):
            found = describe(root)
            raise Unusable(
                root.line, f"expected a mapping with name and jobs at the top, found {found}"
            )
        return root


def _content(path: Path) -> bytes:
    try:
        if not stat.S_ISREG(path.stat().st_mode):  # a pipe would let us wait for ever
            raise Unusable(0, "cannot be read: it is no regular file")
        with path.open("rb") as file:
            return file.read(MAX_BYTES + 1)
    except OSError as error:
        raise Unusable(0, f"cannot be read: {(error.strerror or str(error)).lower()}") from None


def _syntax(source: str, file: str) -> Node | None:
    # Parsers are imported where they are used: yaml costs 15 ms, tomllib 8, which a JSON file
    # need not pay.
    if file.endswith(".json"):
        from drawbar.document.json_source import parse_json

        return parse_json(source)
    if file.endswith(".toml"):
        if len(source) > MAX_TOML_BYTES:
            limit = f"{MAX_TOML_BYTES // 1024 // 1024} MiB, the most for TOML"
            raise Unusable(0, f"is larger than {limit}; write it as YAML or JSON")
        from drawbar.document.toml_source import parse_toml

        return parse_toml(source)
    from drawbar.document.yaml_source import parse_yaml

    return parse_yaml(source)


def _decoded(data: bytes) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        found = data[error.start]
        raise Unusable(line, f"is not UTF-8 text (byte 0x{found:02x})") from None


def _shift(root: Node, lines: int) -> None:
    """Every node of the file stands `lines` further; one that aliases share, once."""
    seen: set[int] = set()
    waiting: list[Node] = [root]
    while waiting:
        node = waiting.pop()
        if id(node) in seen:
            continue
        seen.add(id(node))
        node.line += lines
        if isinstance(node, Sequence):
            waiting += node.items
        elif isinstance(node, Mapping):
            for key, value in node.pairs:
                waiting.append(key)
                waiting.append(value)


def position_in(file: int, line: int, column: int) -> Position:
    """A place in the file of that number."""
    return Position(file * FILE_STRIDE + line, column)
