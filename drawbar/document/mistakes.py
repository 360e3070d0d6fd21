"""Mistakes of a document: where each one is, and how a person reads them."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from shared.pipeline_rules import nearest

Path = tuple[str | int, ...]

MAX_MISTAKES: Final = 1_000  # more are counted, not kept: a broken file may have millions


@dataclass(frozen=True, slots=True)
class Located:
    """One mistake. Lines and columns count from 1; line 0 means the file as a whole."""

    line: int
    column: int
    path: str  # jobs[3].needs[0], in the document's own spelling
    message: str


class BadDocument(Exception):
    """The document has mistakes; `mistakes` are all of them, in the order of their lines."""

    def __init__(self, file: str, mistakes: list[Located], uncounted: int = 0) -> None:
        self.file = file
        self.mistakes = sorted(mistakes, key=lambda m: (m.line, m.column))
        self.uncounted = uncounted
        super().__init__(self.format_mistakes())

    def format_mistakes(self) -> str:
        """One line per mistake, as compilers write them: `file:LINE: message`."""
        lines = [
            f"{self.file}:{m.line}: {m.message}" if m.line else f"{self.file}: {m.message}"
            for m in self.mistakes
        ]
        if self.uncounted:
            lines.append(f"{self.file}: and {self.uncounted} more mistakes")
        return "\n".join(lines)


class Report:
    """Collects mistakes while a document is read."""

    def __init__(self, file: str) -> None:
        self.file = file
        self._mistakes: dict[tuple[int, int, str], Located] = {}
        self._uncounted = 0

    @property
    def is_clean(self) -> bool:
        return not self._mistakes

    @property
    def is_full(self) -> bool:
        return len(self._mistakes) >= MAX_MISTAKES

    def add(self, at: "Position", path: Path, message: str) -> None:
        """Kept, unless the same was said of the same place: jobs may share it by an alias."""
        mistake = Located(at.line, at.column, written(path), message)
        if self.is_full:
            self._uncounted += 1
        else:
            self._mistakes.setdefault((at.line, at.column, message), mistake)

    def hint(self, name: str, known: Callable[[], list[str]]) -> str:
        """The nearest known name, in brackets; nothing once the report is full."""
        return "" if self.is_full else nearest(name, known())

    def raise_if_any(self) -> None:
        if not self.is_clean:
            raise BadDocument(self.file, [*self._mistakes.values()], self._uncounted)


class Position:
    """A place in a text, both numbers from 1."""

    __slots__ = ("column", "line")

    def __init__(self, line: int, column: int) -> None:
        self.line = line
        self.column = column


def written(path: Path) -> str:
    """('jobs', 3, 'needs', 0) as people write it: jobs[3].needs[0]."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text
