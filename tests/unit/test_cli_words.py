"""Durations, moments and sizes as people read them."""

from datetime import timedelta

import pytest

from drawbar.cli.render import words
from drawbar.cli.render.names import shortened
from drawbar.cli.render.statuses import in_order, look
from drawbar.cli.render.tables import counts_text
from shared.protocol.states import AttemptStatus, JobStatus, RunStatus, WorkerStatus
from tests.support.runtime import T0


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (-1, "0 ms"),
        (0.0042, "4 ms"),
        (0.0996, "0.1 s"),
        (59.94, "59.9 s"),
        (59.96, "1 m 00 s"),
        (125, "2 m 05 s"),
        (3_599.6, "1 h 00 m"),
        (12_000, "3 h 20 m"),
        (352_800, "4 d 02 h"),
    ],
)
def test_a_duration_has_two_units_at_most(seconds: float, said: str) -> None:
    assert words.duration(seconds) == said


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (-5, "just now"),
        (1, "just now"),
        (59, "59 s ago"),
        (3_599, "59 min ago"),
        (90_000, "1 d ago"),
    ],
)
def test_a_moment_is_told_in_its_largest_unit(seconds: float, said: str) -> None:
    assert words.ago(T0, T0 + timedelta(seconds=seconds)) == said


@pytest.mark.parametrize(
    ("size", "said"), [(0, "0 B"), (999, "999 B"), (1_024, "1.0 KiB"), (3 << 40, "3072.0 GiB")]
)
def test_a_size_is_told_in_its_unit(size: int, said: str) -> None:
    assert words.size(size) == said


@pytest.mark.parametrize(
    ("width", "said"),
    [
        (30, "test[py=3.11,os=linux]"),
        (22, "test[py=3.11,os=linux]"),
        (11, "test[…inux]"),
        (2, "te"),
    ],
)
def test_a_long_name_is_shortened_in_its_middle(width: int, said: str) -> None:
    assert shortened("test[py=3.11,os=linux]", width) == said


def test_nothing_that_moves_a_cursor_is_printable() -> None:
    assert words.printable("a\x1b[2J\x9b1m\r\n\u202e") == "a\\x1b[2J\\x9b1m\\x0d\\x0a\\x202e"


def test_every_status_has_a_symbol_of_its_own_kind() -> None:
    every = [*JobStatus, *RunStatus, *AttemptStatus, *WorkerStatus]

    assert [status for status in every if look(status).symbol == "?"] == []


def test_failures_of_all_kinds_are_one_number() -> None:
    counts = {
        "timeout": 1,
        "success": 3,
        "failed": 2,
        "precheck_failed": 1,
        "held": 1,
        "blocked": 2,
    }

    assert counts_text(in_order(counts)).plain == "✘ 4  ◌ 1  ○ 2  ✔ 3"


def test_counts_begin_with_what_needs_a_look() -> None:
    counts = {"success": 3, "skipped": 0, "running": 2, "failed": 1, "levitating": 1}

    assert in_order(counts) == [("failed", 1), ("running", 2), ("success", 3), ("levitating", 1)]
