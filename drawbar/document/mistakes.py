"""Mistakes of a document: where each one is, and how a person reads them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from shared.pipeline_rules import nearest

Path = tuple[str | int, ...]

MAX_MISTAKES: Final = 1_000  # more are counted, not kept: a broken file may have millions
FILE_STRIDE: Final = 2**32  # the lines of the n-th further file count on from n times this


@dataclass(frozen=True, slots=True)
class Located:
    """One mistake. Lines and columns count from 1; line 0 means the file as a whole."""

    line: int
    column: int
    path: str  # jobs[3].needs[0], in the document's own spelling
    message: str
    file: str


class BadDocument(Exception):
    """The document has mistakes; `mistakes` are all of them, in the order of files and lines."""

    def __init__(self, file: str, mistakes: list[Located], uncounted: int = 0) -> None:
        self.file = file
        self.mistakes = sorted(mistakes, key=lambda m: (m.file != file, m.file, m.line, m.column))
        self.uncounted = uncounted
        super().__init__(self.format_mistakes())

    def format_mistakes(self) -> str:
        """One line per mistake, as compilers write them: `file:LINE: message`."""
        lines = [format_located(mistake) for mistake in self.mistakes]
        if self.uncounted:
            lines.append(f"{self.file}: and {self.uncounted} more mistakes")
        return "\n".join(lines)


def format_located(found: Located) -> str:
    """`file:LINE: message`."""
    where = f"{found.file}:{found.line}" if found.line else found.file
    return f"{where}: {found.message}"


class Report:
    """Collects mistakes, and notes of what has no effect, while a document is read.

    `files` are the names of its files; it may grow meanwhile.
    """

    def __init__(self, files: Sequence[str]) -> None:
        self._files = files
        self._mistakes: dict[tuple[int, int, str], Located] = {}
        self._notes: dict[tuple[int, int, str], Located] = {}
        self._uncounted = 0

    @property
    def is_clean(self) -> bool:
        return not self._mistakes

    @property
    def is_full(self) -> bool:
        return len(self._mistakes) >= MAX_MISTAKES

    @property
    def notes(self) -> tuple[Located, ...]:
        return tuple(self._notes.values())

    def add(self, at: "Position", path: Path, message: str) -> None:
        """Kept, unless the same was said of the same place: jobs may share it by an alias."""
        if self.is_full:
            self._uncounted += 1
        else:
            self._mistakes.setdefault(
                (at.line, at.column, message), self._located(at, path, message)
            )

    def note(self, at: "Position", path: Path, message: str) -> None:
        """Kept: the document is good, but this part of it has no effect."""
        if len(self._notes) < MAX_MISTAKES:
            self._notes.setdefault((at.line, at.column, message), self._located(at, path, message))

    def see(self, there: "Position", here: "Position") -> str:
        """'line 4', or 'base.yaml:4' for somebody who reads another file."""
        file, line = divmod(there.line, FILE_STRIDE)
        if file == here.line // FILE_STRIDE:
            return f"line {line}"
        return f"{self._files[file]}:{line}"

    def hint(self, name: str, known: Callable[[], list[str]]) -> str:
        """The nearest known name, in brackets; nothing once the report is full."""
        return "" if self.is_full else nearest(name, known())

    def raise_if_any(self) -> None:
        if not self.is_clean:
            raise BadDocument(self._files[0], [*self._mistakes.values()], self._uncounted)

    def _located(self, at: "Position", path: Path, message: str) -> Located:
        file, line = divmod(at.line, FILE_STRIDE)
        return Located(line, at.column, written(path), message, self._files[file])


class Position:
    """A place in a text, both numbers from 1."""

    __slots__ = ("column", "line")

    def __init__(self, line: int, column: int) -> None:
        self.line = line
        self.column = column


WHOLE_FILE: Final = Position(0, 0)  # the first file, no line of it


def written(path: Path) -> str:
    """('jobs', 3, 'needs', 0) as people write it: jobs[3].needs[0]."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text
