"""Verdicts over histories that are made up: each breach is found, nothing looked at is not kept."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from faults.chaos.ledger import Ledger
from faults.chaos.plan import ChaosPlan, Promise
from faults.chaos.recorder import Recorder, in_order
from faults.chaos.report import as_text, failures
from faults.chaos.schedule import digest_of
from faults.chaos.story import Story
from faults.chaos.tap import _payload
from faults.chaos.timeline import timeline
from faults.chaos.verdict import Verdict, verdicts_of
from faults.judging.final_state import FinalState
from shared.runtime import SystemRuntime

TOKEN = b"eyJhbGciOiJFZERTQSJ9.eyJzdWIiOiJ3b3JrZXIifQ.c2lnbmF0dXJlc2lnbmF0dXJl"


@pytest.fixture
def recorder(tmp_path: Path) -> Iterator[Recorder]:
    opened = Recorder(tmp_path / "history.jsonl", SystemRuntime())
    yield opened
    opened.close()


def a_story(folder: Path, recorder: Recorder, **fields: Any) -> Story:
    (folder / "logs").mkdir(exist_ok=True)
    return Story(
        plan=fields.pop("plan", ChaosPlan(name="test")),
        folder=folder,
        entries=recorder.entries,
        final=FinalState(),
        pipelines={},
        schedule=digest_of([]),
        **fields,
    )


def verdict_of(story: Story, promise: str) -> Verdict:
    return next(v for v in verdicts_of(story) if v.promise == promise)


def spawned(recorder: Recorder, attempt: str, **facts: Any) -> None:
    usual = {"run": 1, "job": "a", "fence": 1, "kind": "quick", "company": "alone", "crowd": "fits"}
    recorder.event("worker-0.1", "spawn", **{**usual, "attempt": attempt, "inputs": {}, **facts})


def test_what_was_not_looked_at_is_not_kept(tmp_path: Path, recorder: Recorder) -> None:
    story = a_story(tmp_path, recorder, plan=ChaosPlan(name="test", expect=(Promise.P3,)))

    verdicts = verdicts_of(story)

    assert {v.word for v in verdicts} == {"not exercised"}
    assert failures(story, verdicts) == ["P3 is expected, and was not exercised"]
    assert "P10" in as_text(story, verdicts)


def test_a_process_beside_an_earlier_one_breaks_p6(tmp_path: Path, recorder: Recorder) -> None:
    spawned(recorder, "first")
    spawned(recorder, "second", fence=2, company="overlap")

    verdict = verdict_of(a_story(tmp_path, recorder), "P6")

    assert verdict.word == "broken"
    assert "second" in verdict.breaches[0]


def test_beside_a_process_of_a_frozen_worker_it_is_explained(
    tmp_path: Path, recorder: Recorder
) -> None:
    spawned(recorder, "first")
    recorder.event("worker-0", "pause", process="worker-0.1")
    spawned(recorder, "second", fence=2, company="overlap")

    assert verdict_of(a_story(tmp_path, recorder), "P6").word == "not exercised"


def test_a_tree_without_a_free_slot_breaks_p8(tmp_path: Path, recorder: Recorder) -> None:
    spawned(recorder, "first", crowd="crowded")

    assert verdict_of(a_story(tmp_path, recorder), "P8").word == "broken"


def test_a_process_that_was_left_behind_breaks_p8(tmp_path: Path, recorder: Recorder) -> None:
    story = a_story(tmp_path, recorder, left={77: "sleep 600"})

    assert "77" in verdict_of(story, "P8").breaches[0]


@pytest.mark.parametrize("secret", [b"s3cret", TOKEN])
def test_a_secret_in_a_log_breaks_p9(tmp_path: Path, recorder: Recorder, secret: bytes) -> None:
    story = a_story(tmp_path, recorder, secrets={"the secret": b"s3cret"})
    (tmp_path / "logs" / "worker-0.log").write_bytes(b"said " + secret)

    verdict = verdict_of(story, "P9")

    assert verdict.word == "broken"
    assert "worker-0.log" in verdict.breaches[0]


@pytest.mark.parametrize(
    ("status", "code", "word"),
    [
        (400, "bad_request", "kept"),
        (503, "unavailable", "kept"),
        (500, "internal", "broken"),
        (201, "", "broken"),
        (400, "never_heard_of", "broken"),
    ],
)
def test_nonsense_has_to_be_turned_away_by_the_contract(
    tmp_path: Path, recorder: Recorder, status: int, code: str, word: str
) -> None:
    invoked = recorder.invoke("people", "nonsense", case="no JSON")
    recorder.answer(invoked, status=status, code=code)

    assert verdict_of(a_story(tmp_path, recorder), "P10").word == word


def test_nonsense_that_made_a_run_breaks_p10(tmp_path: Path, recorder: Recorder) -> None:
    assert verdict_of(a_story(tmp_path, recorder, intruders=1), "P10").word == "broken"


def test_work_that_does_not_end_breaks_p1(tmp_path: Path, recorder: Recorder) -> None:
    assert verdict_of(a_story(tmp_path, recorder, is_drained=False), "P1").word == "broken"


def test_a_store_that_cannot_be_read_breaks_p1_and_says_nothing_of_the_rest(
    tmp_path: Path, recorder: Recorder
) -> None:
    recorder.event("people", "submitted", run=7, name="unknown")

    verdicts = verdicts_of(a_story(tmp_path, recorder, unread="the disk is full"))

    assert [v.promise for v in verdicts if v.word == "broken"] == ["P1"]
    assert verdicts[0].breaches == (
        "I12 after everything was healed, the store cannot be read: the disk is full",
    )


def test_an_acknowledged_run_that_is_gone_breaks_p1(tmp_path: Path, recorder: Recorder) -> None:
    recorder.event("people", "submitted", run=7, name="lost")

    assert "lost" in verdict_of(a_story(tmp_path, recorder), "P1").breaches[0]


def test_another_schedule_than_the_seeds_is_found(tmp_path: Path, recorder: Recorder) -> None:
    story = replace(a_story(tmp_path, recorder), schedule="0123")

    assert "I14" in verdict_of(story, "P1").breaches[0]


def test_history_is_in_order_of_time_and_calls_keep_their_answers(recorder: Recorder) -> None:
    asked = recorder.invoke("people", "submit", name="a")
    recorder.answer(asked, run=1)
    recorder.event("worker-0.1", "spawn", at=-1.0)

    entries = in_order(recorder.entries)

    assert [e.op for e in entries] == ["spawn", "submit", "submit"]
    assert entries[2].call == entries[1].n == 1


def test_the_ledger_is_read_line_by_line_and_torn_lines_are_counted(
    tmp_path: Path, recorder: Recorder
) -> None:
    ledger = Ledger(tmp_path, recorder)
    ledger.open()
    with (tmp_path / "ledger").open("a") as file:
        file.write("start 1.5 1 a att-1 1 worker-0.1 quick alone fits none\nstart 1.6 1 b")
        file.flush()
        ledger.look()
        file.write("roken\nend 2.5 1 a att-1 1 worker-0.1 0 2\n")
    ledger.look()

    assert (ledger.starts, ledger.ends, ledger.torn) == (1, 1, 1)
    assert [e.op for e in recorder.entries] == ["spawn", "exit"]
    assert recorder.entries[1].facts["log_bytes"] == len(b"att-1 line 0\natt-1 line 1\n")


@pytest.mark.parametrize("size", [0, 1, 125, 126, 65_535, 65_536])
def test_what_a_masked_frame_carries_is_found(size: int) -> None:
    text = bytes(n % 251 for n in range(size))
    mask = b"\x01\x80\xff\x3c"
    masked = bytes(byte ^ mask[n % 4] for n, byte in enumerate(text))
    if size < 126:
        length = bytes([0x80 | size])
    elif size < 65_536:
        length = bytes([0x80 | 126]) + size.to_bytes(2, "big")
    else:
        length = bytes([0x80 | 127]) + size.to_bytes(8, "big")

    assert _payload(b"\x82" + length + mask + masked) == text


def test_the_timeline_needs_nothing_from_anywhere_else(tmp_path: Path, recorder: Recorder) -> None:
    recorder.event("jobstore", "up", pid=1)
    recorder.event("jobstore", "down", how="killed", exit_code=-9)
    spawned(recorder, "first")
    recorder.event("nemesis", "fault", kind="kill", target="<b>", step=0, until=1.0, says="kill")
    story = a_story(tmp_path, recorder, took_s=3.0)

    page = timeline(story, verdicts_of(story))

    assert page.count("<rect") == 3
    assert "http" not in page.replace("http-equiv", "")
    assert "<b>" not in page.replace("<body>", "")
