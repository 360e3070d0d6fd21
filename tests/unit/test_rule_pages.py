"""docs/checks.md and docs/security.md name what there is, and nothing else."""

import re
from pathlib import Path

from worker.checks.shipped import SHIPPED
from worker.policy import dangers

DOCS = Path(__file__).parents[2] / "docs"


def rows(page: str) -> list[list[str]]:
    lines = (DOCS / page).read_text().splitlines()
    tables = [line for line in lines if line.startswith("| `")]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in tables]


def test_every_shipped_check_is_told_with_its_parameters() -> None:
    told = {row[0].strip("`"): set(re.findall(r"`(\w+)`", row[1])) for row in rows("checks.md")}

    assert list(told) == list(SHIPPED)
    for name, shipped in SHIPPED.items():
        assert set(shipped.params) <= told[name], name


def test_every_rule_is_told_with_its_level() -> None:
    source = Path(dangers.__file__).read_text()
    looked_for = set(re.findall(r'Danger\(\s*"([a-z-]+)",\s*"(low|medium|high)"', source))

    told = {(row[0].strip("`"), row[1]) for row in rows("security.md") if row[1] in dangers.LEVELS}

    assert told == looked_for
