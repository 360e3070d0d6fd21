"""What a document looks like once it is parsed, whichever syntax it was written in.

Scalars keep the text that they were written as; what it means is decided by the field that it
stands in. So `PORT: 0080` in an environment stays "0080", and no syntax has types of its own.
"""

from typing import Final

from drawbar.document.mistakes import Position

MAX_DEPTH: Final = 64
MAX_NODES: Final = 3_000_000  # 100,000 jobs of 30 values; with aliases written out

NOTHING: Final = frozenset({"", "~", "null", "Null", "NULL"})


class Scalar(Position):
    """`plain`: written without quotes, so that it may be a number, true, false or nothing."""

    __slots__ = ("plain", "text")

    def __init__(self, line: int, column: int, text: str, plain: bool) -> None:
        self.line = line
        self.column = column
        self.text = text
        self.plain = plain

    @property
    def is_nothing(self) -> bool:
        return self.plain and self.text in NOTHING


class Unfilled(Scalar):
    """Its template had a mistake, which was reported; what it should have been is not known."""

    __slots__ = ()


class Sequence(Position):
    __slots__ = ("items",)

    def __init__(self, line: int, column: int) -> None:
        self.line = line
        self.column = column
        self.items: list[Node] = []


class Mapping(Position):
    """Pairs in the order of the text; a key may occur twice, which the reader reports."""

    __slots__ = ("pairs",)

    def __init__(self, line: int, column: int) -> None:
        self.line = line
        self.column = column
        self.pairs: list[tuple[Scalar, Node]] = []


Node = Scalar | Sequence | Mapping


class Unparsable(Exception):
    """The text is not in its syntax; nothing beyond this place can be understood."""

    def __init__(self, line: int, column: int, message: str) -> None:
        self.line = line
        self.column = column
        self.message = message
        super().__init__(message)


TOO_DEEP: Final = f"nested deeper than {MAX_DEPTH} levels"
TOO_MANY: Final = f"holds more than {MAX_NODES:,} values (aliases count each time they are used)"


def describe(node: Node) -> str:
    """What somebody wrote here, short enough for a message."""
    if isinstance(node, Sequence):
        return "a list"
    if isinstance(node, Mapping):
        return "a mapping"
    if node.is_nothing:
        return "nothing"
    text = node.text if len(node.text) <= 40 else node.text[:37] + "..."
    return repr(text) if node.plain else f"the text {text!r}"


def position_of(text: str, offset: int) -> tuple[int, int]:
    """Line and column of an offset, for an error: counts through the text."""
    return text.count("\n", 0, offset) + 1, offset - text.rfind("\n", 0, offset)
