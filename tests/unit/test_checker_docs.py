"""docs/checker.md tells of every check, and of the invariants that each is of."""

import re
from pathlib import Path

from faults.judging.verdict import CHECKS, Check

TOLD = (Path(__file__).parents[2] / "docs" / "checker.md").read_text()
ROWS = {row[0]: row for row in re.findall(r"^\| (I\d+) \| (.*) \| (.*) \| (.*) \|$", TOLD, re.M)}


def name_of(check: Check) -> str:
    find = check.find
    return f"{find.__module__.rsplit('.', 1)[-1]}.{find.__name__}"


def test_there_are_fifteen_invariants() -> None:
    assert list(ROWS) == [f"I{n}" for n in range(1, 16)]


def test_each_check_stands_in_the_rows_of_its_invariants_and_in_no_other() -> None:
    for check in CHECKS:
        rows = {number for number, row in ROWS.items() if f"`{name_of(check)}`" in row[2]}

        assert rows == set(check.invariants), name_of(check)


def test_each_check_says_which_invariants_it_is_of() -> None:
    for check in CHECKS:
        said = re.findall(r"I\d+", (check.find.__doc__ or "").partition(".")[0])

        assert tuple(said) == check.invariants, name_of(check)


def test_each_promise_of_a_check_stands_beside_its_invariants() -> None:
    for check in CHECKS:
        for number in check.invariants:
            assert check.promise in ROWS[number][3].split(", "), name_of(check)
