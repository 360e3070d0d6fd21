"""docs/tasks.md names a test for each thing that the seed documents draw, and all of them exist."""

import ast
import re
from functools import cache

import pytest

from tests.support.golden import ROOT

PAGE = (ROOT / "docs" / "tasks.md").read_text()
PROOF = PAGE[PAGE.index("## Where it is shown") :]
NAMED = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", PROOF)
TABLES = [part.splitlines() for part in PROOF.split("\n\n") if part.startswith("| ")]


@cache
def functions_of(file: str) -> frozenset[str]:
    tree = ast.parse((ROOT / file).read_text())
    return frozenset(
        node.name
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    )


@pytest.mark.parametrize(("file", "name"), sorted(set(NAMED)))
def test_every_test_that_the_page_names_exists(file: str, name: str) -> None:
    assert name in functions_of(file)


def test_every_row_of_the_proof_names_a_test() -> None:
    rows = [row for table in TABLES for row in table[2:]]

    assert [row for row in rows if "::test_" not in row] == []


def test_the_proof_has_a_row_for_each_bullet_and_arrow() -> None:
    """Eight steps of the lifecycle, five of the supervisor, four of the runner, four of access to
    data; and the arrows that both diagrams of job runners share, with who takes part."""
    assert [len(table) - 2 for table in TABLES] == [8, 5, 4, 4, 11]
