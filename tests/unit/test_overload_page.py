"""docs/overload.md names every bound that there is, by the number that it has."""

import re
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest

from jobstore.routes import SUBMIT_BYTES
from jobstore.schedules.routes import SCHEDULE_BYTES
from shared.http import admission
from shared.http.admission import AT_ONCE, LOOP_S, STORE_S, Rank

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "overload.md").read_text()
BOUNDS = [
    (name, file)
    for names, file in re.findall(r"((?:`[A-Z_]+`(?:, )?)+) in `([\w/]+)\.py`", PAGE)
    for name in re.findall(r"[A-Z_]+", names)
]
FOLDERS = ("gateway", "jobstore", "registry", "shared", "worker")
NUMBER = re.compile(r"^([A-Z_]+)(?:: Final)? = [\w.*</+ -]+(?:#.*)?$", re.MULTILINE)
A_BOUND = re.compile(r"(^|.*_)(MAX|MOST|KEPT|HELD|AT_ONCE|AT_A_TIME|IN_A_LANE)(_.*|$)")
OF_NO_QUEUE = {  # how long a text may be, what a machine has, what a caller knows of itself
    "MAX_BY",
    "MAX_CLOCK_SKEW_S",
    "MAX_FILE_BYTES",
    "MAX_MISTAKES",
    "MAX_PASSWORD_BYTES",
    "MAX_PATH",
    "MAX_SAYS",
    "KEPT_S",
    "MOST_BY_DEFAULT",
    "MOST_CARRIED",
    "MOST_CHARACTERS",
    "MOST_FILES",
    "MOST_MESSAGE",
    "MOST_SHOWN",
    "MOST_WHY",
}
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
    assert len(BOUNDS) >= 70


def constants() -> Iterator[tuple[str, str]]:
    """Whatever is called like a bound and is a number, by name and file."""
    for folder in FOLDERS:
        for file in (ROOT / folder).rglob("*.py"):
            for name in NUMBER.findall(file.read_text()):
                if A_BOUND.fullmatch(name):
                    yield name, file.relative_to(ROOT).with_suffix("").as_posix()


def test_every_bound_of_a_service_or_worker_is_named() -> None:
    """Those of messages are in the services' own descriptions."""
    unnamed = {
        (name, file)
        for name, file in constants()
        if not file.startswith("shared/protocol/") and name not in OF_NO_QUEUE
    }

    assert unnamed - set(BOUNDS) == set()


def test_nothing_waits_in_a_queue_without_a_bound() -> None:
    queues = re.compile(r"\b(?:asyncio|queue)\.(?:Lifo|Priority|Simple)?Queue\(\)")

    for folder in FOLDERS:
        for file in (ROOT / folder).rglob("*.py"):
            assert not queues.search(file.read_text()), file


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
