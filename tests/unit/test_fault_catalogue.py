"""docs/fault-catalogue.md lists faults by name, and for each of them a test that there is."""

import ast
import re
from functools import cache

import pytest

from tests.support.golden import ROOT

PAGE = (ROOT / "docs" / "fault-catalogue.md").read_text()
ROWS = re.findall(
    r"^\| `([^`]+)` \| ([^|]+) \| `(tests/[\w/]+\.py)::(\w+)` \|$", PAGE, re.MULTILINE
)
NAMED_IN_THE_TEST = ("test_hostile_requests.py", "test_identity.py", "test_fault_proxy.py")


@cache
def functions_of(file: str) -> frozenset[str]:
    tree = ast.parse((ROOT / file).read_text())
    return frozenset(
        node.name
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    )


@pytest.mark.parametrize(("file", "test"), sorted({(file, test) for _, _, file, test in ROWS}))
def test_every_test_of_the_catalogue_exists(file: str, test: str) -> None:
    assert test in functions_of(file)


def test_every_row_of_the_catalogue_has_a_test() -> None:
    rows = [line for line in PAGE.splitlines() if line.startswith("| `")]

    assert len(rows) == len(ROWS)


def test_the_catalogue_has_eighty_faults_and_none_twice() -> None:
    names = [name for name, *_ in ROWS]

    assert len(set(names)) == len(names)
    assert len(names) >= 80


@pytest.mark.parametrize(
    ("name", "file"), [(n, f) for n, _, f, _ in ROWS if f.endswith(NAMED_IN_THE_TEST)]
)
def test_what_is_asked_for_by_name_bears_it_in_its_test(name: str, file: str) -> None:
    """So that a failure says which fault it was, and a search for one finds its test."""
    assert re.search(rf"\b{re.escape(name)}\b", (ROOT / file).read_text())
