"""docs/overload.md names bounds that exist, by the numbers that they have."""

import re
from importlib import import_module
from pathlib import Path

import pytest

from jobstore.routes import SUBMIT_BYTES
from jobstore.schedules.routes import SCHEDULE_BYTES
from shared.http import admission
from shared.http.admission import AT_ONCE, LOOP_S, STORE_S, Rank

PAGE = (Path(__file__).parents[2] / "docs" / "overload.md").read_text()
BOUNDS = re.findall(r"\| `([A-Z_]+)` in `([\w/]+)\.py` \|", PAGE)
UNITS = {"MiB": 1 << 20, "KiB": 1 << 10, "GiB": 1 << 30}
SAYS_MORE = {
    "AT_ONCE",
    "PATIENCE",
    "RESTING",
    "SENDERS",
    "MOST_PIECES",
    "MOST_BYTES",
    "PIECE_BYTES",
}


def test_the_page_names_many_bounds() -> None:
    assert len(BOUNDS) >= 30


@pytest.mark.parametrize(("name", "file"), BOUNDS)
def test_every_bound_that_is_named_exists(name: str, file: str) -> None:
    assert hasattr(import_module(file.replace("/", ".")), name)


@pytest.mark.parametrize(
    ("bound", "name", "file"),
    [
        found
        for found in re.findall(r"\| ([^|]+) \| `([A-Z_]+)` in `([\w/]+)\.py` \|", PAGE)
        if found[1] not in SAYS_MORE
    ],
)
def test_every_bound_has_the_number_that_the_page_says(bound: str, name: str, file: str) -> None:
    number = re.match(r"(?:jobs of )?([\d,]+(?:\.\d+)?) ?(MiB|KiB|GiB)?", bound)
    assert number is not None, bound
    told = float(number[1].replace(",", "")) * UNITS.get(number[2], 1)

    assert getattr(import_module(file.replace("/", ".")), name) == told


def test_the_largest_message_that_people_may_send_fits_into_what_is_held_of_theirs() -> None:
    assert max(SUBMIT_BYTES, SCHEDULE_BYTES) <= admission.PEOPLES_BYTES


def test_the_ranks_are_told_with_their_limits() -> None:
    rows = {
        cells[0]: cells[2:]
        for line in PAGE.splitlines()
        if len(cells := [cell.strip() for cell in line.split("|")[1:-1]]) == 5
    }

    for rank in Rank:
        loop, store, at_once = rows[rank.name.lower()]
        assert loop == (f"{LOOP_S[rank]:g} s" if rank in LOOP_S else "never")
        assert store == (f"{STORE_S[rank]:g} s" if rank in STORE_S else "never")
        assert at_once.startswith(f"{AT_ONCE[rank]:,}")
    assert f"{admission.ALERT_AT_ONCE} while somebody" in rows["people"][2]
    assert f"{admission.LEAST_AT_ONCE} however slow" in rows["people"][2]
    assert f"may wait for {admission.BURST_S:g} s" in PAGE
