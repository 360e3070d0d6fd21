"""`${{ params.x }}` and `${{ matrix.y }}`: the texts of nodes, filled in before they are read.

`$${{` stands for a `${{` that is meant as it is.
"""

import re
from collections.abc import Mapping as Values
from typing import Final

from drawbar.document.mistakes import Path, Position, Report
from drawbar.document.nodes import NOTHING, Mapping, Node, Scalar, Sequence, Unfilled
from drawbar.document.params import Value

MAX_FILLED: Final = 64 * 1024 * 1024  # characters that expansions may make of a document

_EXPRESSION = re.compile(r"\$?\$\{\{([^{}]*)\}\}")
_NAMED = re.compile(r"\s*(params|matrix)\.([A-Za-z_][A-Za-z0-9_-]*)\s*")


class Budget:
    """How much more text may be made of the document's; one mistake when it is used up."""

    def __init__(self, report: Report) -> None:
        self._left = MAX_FILLED
        self._report = report

    @property
    def is_spent(self) -> bool:
        return self._left < 0

    def spend(self, characters: int, at: Position, path: Path) -> bool:
        """False: there was not so much left."""
        if self._left < 0:
            return False
        self._left -= characters
        if self._left < 0:
            mib = MAX_FILLED // 1024 // 1024
            self._report.add(
                at, path, f"with everything filled in, the document is larger than {mib} MiB"
            )
        return self._left >= 0


class Templates:
    """Fills in parameters, and for a job with a matrix its values."""

    def __init__(
        self, params: Values[str, Value], budget: Budget, report: Report, *, are_used: bool
    ) -> None:
        self._params = params
        self._budget = budget
        self._report = report
        self._are_used = are_used  # False: the text has no template at all

    def fill(self, node: Node, path: Path, matrix: Values[str, str] | None = None) -> Node:
        """`node` without templates: itself when it has none, else a copy of what changed."""
        if not self._are_used:
            return node
        return self._filled(node, path, matrix, {})

    def _filled(
        self,
        node: Node,
        path: Path,
        matrix: Values[str, str] | None,
        done: dict[int, Node],
    ) -> Node:
        if isinstance(node, Scalar):
            return self._scalar(node, path, matrix) if "${{" in node.text else node
        if id(node) in done:  # aliases share it; they share what it becomes
            return done[id(node)]
        whole: Node = node
        if isinstance(node, Sequence):
            items = [self._filled(n, (*path, i), matrix, done) for i, n in enumerate(node.items)]
            if any(a is not b for a, b in zip(items, node.items, strict=True)):
                whole = Sequence(node.line, node.column)
                whole.items = items
        else:
            pairs = [(k, self._filled(n, (*path, k.text), matrix, done)) for k, n in node.pairs]
            if any(a[1] is not b[1] for a, b in zip(pairs, node.pairs, strict=True)):
                whole = Mapping(node.line, node.column)
                whole.pairs = pairs
        done[id(node)] = whole
        return whole

    def _scalar(self, node: Scalar, path: Path, matrix: Values[str, str] | None) -> Scalar:
        values: list[Value] = []
        has_mistake = False

        def replace(found: re.Match[str]) -> str:
            nonlocal has_mistake
            if found[0].startswith("$$"):
                return found[0][1:]
            value = self._value(found[1], node, path, matrix)
            if value is None or not self._budget.spend(len(value.text), node, path):
                has_mistake = True
                return ""
            values.append(value)
            return value.text

        text = _EXPRESSION.sub(replace, node.text)
        if has_mistake:
            return Unfilled(node.line, node.column, node.text, plain=False)
        is_whole = len(values) == 1 and _EXPRESSION.fullmatch(node.text.strip()) is not None
        return Scalar(node.line, node.column, text, plain=is_whole and values[0].plain)

    def _value(
        self, expression: str, node: Scalar, path: Path, matrix: Values[str, str] | None
    ) -> Value | None:
        named = _NAMED.fullmatch(expression)
        said = expression.strip()[:100]
        if named is None:
            message = f"'{said}' is no template; there are params.NAME and matrix.NAME"
        elif named[1] == "params":
            if named[2] in self._params:
                value = self._params[named[2]]
                return value if value.is_good else None
            hint = self._report.hint(named[2][:100], lambda: [*self._params])
            message = f"there is no parameter {named[2][:100]!r}{hint}"
        elif matrix is None:
            message = f"'{said}' stands in no job with a matrix"
        elif named[2] in matrix:
            text = matrix[named[2]]
            return Value(text, text not in NOTHING, text)
        else:
            hint = self._report.hint(named[2][:100], lambda: [*matrix])
            message = f"the matrix has no {named[2][:100]!r}{hint}"
        self._report.add(node, path, message)
        return None
