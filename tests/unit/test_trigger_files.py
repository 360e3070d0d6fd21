"""Files that tasks wait for, by name and by pattern."""

import os
from pathlib import Path

import pytest

from jobstore.triggers.files import MOST_ENTRIES, Seen, look_at
from jobstore.triggers.kinds import File
from jobstore.triggers.ports import MayNot, NotYet
from tests.support.runtime import T0


@pytest.fixture
def inbox(tmp_path: Path) -> Path:
    folder = tmp_path / "inbox"
    folder.mkdir()
    return folder


def look(inbox: Path, name: str, settled_s: float = 0.0) -> Seen:
    wanted = File(kind="file", path=str(inbox / name), settled_s=settled_s)
    return look_at([("it", wanted)], [inbox], T0)["it"]


def put(path: Path, age_s: float = 0.0) -> None:
    path.write_text("x")
    os.utime(path, (T0.timestamp() - age_s,) * 2)


def found(seen: Seen) -> str:
    assert isinstance(seen, dict), seen
    return Path(str(seen["path"])).name


def test_the_first_file_by_name_that_matches_is_the_event(inbox: Path) -> None:
    for name in ("orders-2.csv", "orders-1.csv", "orders-0.txt", ".orders-0.csv"):
        put(inbox / name)

    assert found(look(inbox, "orders-?.csv")) == "orders-1.csv"
    assert found(look(inbox, "*.csv")) == "orders-1.csv"
    assert found(look(inbox, ".*.csv")) == ".orders-0.csv"


def test_what_is_not_settled_is_passed_over_for_what_is(inbox: Path) -> None:
    put(inbox / "a.csv", age_s=1)
    waits = look(inbox, "*.csv", settled_s=10)
    put(inbox / "b.csv", age_s=20)

    assert str(waits) == f"{inbox}/a.csv: it was written to a moment ago"
    assert found(look(inbox, "*.csv", settled_s=10)) == "b.csv"


def test_a_pattern_finds_neither_folders_nor_what_a_link_leads_to_elsewhere(inbox: Path) -> None:
    (inbox / "a.csv").mkdir()
    (inbox / "b.csv").symlink_to("/etc/passwd")

    assert isinstance(look(inbox, "*.csv"), NotYet)
    assert isinstance(look(inbox, "b.csv"), MayNot)
    assert isinstance(look(inbox.parent, "*"), NotYet)


def test_a_pattern_looks_into_no_folder_but_those_allowed(inbox: Path) -> None:
    wanted = File(kind="file", path=f"{inbox.parent}/*")

    assert isinstance(look_at([("it", wanted)], [inbox], T0)["it"], MayNot)


def test_a_folder_that_is_too_full_is_not_searched(
    inbox: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jobstore.triggers.files.MOST_ENTRIES", 2)
    for name in "abc":
        put(inbox / name)

    assert MOST_ENTRIES >= 10_000
    assert "holds more than 2 files" in str(look(inbox, "*"))
    assert found(look(inbox, "a")) == "a"


def test_a_name_with_the_marks_of_a_pattern_can_be_written(inbox: Path) -> None:
    put(inbox / "a*b")
    put(inbox / "a-b")

    assert found(look(inbox, "a[*]b")) == "a*b"


def test_a_name_that_no_event_can_tell_of_is_passed_over(inbox: Path) -> None:
    (inbox / os.fsdecode(b"a\xff.csv")).write_text("x")
    alone = look(inbox, "*.csv")
    put(inbox / "b.csv")

    assert isinstance(alone, NotYet)
    assert str(alone).isascii()
    assert found(look(inbox, "*.csv")) == "b.csv"


def test_a_file_of_no_year_that_can_be_told_stops_no_other_look(
    inbox: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(inbox / "b")
    put(inbox / "a")
    stat = os.stat
    far = os.stat_result((*stat(inbox / "a")[:8], 2**40, 2**40))
    wanted = [(name, File(kind="file", path=str(inbox / name))) for name in "ab"]

    with monkeypatch.context() as patch:
        patch.setattr(os, "stat", lambda path: far if path.endswith("a") else stat(path))
        seen = look_at(wanted, [inbox], T0)

    assert isinstance(seen["a"], NotYet)
    assert found(seen["b"]) == "b"
