"""Verdicts over histories that are made up: each breach is found, nothing looked at is not kept."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from faults.chaos.checks import spaced, stored_tries, waited
from faults.chaos.ledger import Ledger
from faults.chaos.plan import ChaosPlan, Promise
from faults.chaos.recorder import Recorder, in_order
from faults.chaos.report import as_text, failures
from faults.chaos.schedule import digest_of
from faults.chaos.story import REST_OF_LEASE, Story
from faults.chaos.tap import _payload
from faults.chaos.timeline import timeline
from faults.chaos.verdict import Verdict, verdicts_of
from faults.judging.final_state import FinalState
from jobstore.settings import JobStoreSettings
from shared.ids import JobId, RunId
from shared.protocol.jobs import AttemptView, Event, JobView, RunView
from shared.protocol.pipeline import PipelineSpec
from shared.protocol.states import JobStatus
from shared.runtime import SystemRuntime
from tests.support.runtime import T0

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


def test_where_nothing_was_disturbed_nothing_is_kept(tmp_path: Path, recorder: Recorder) -> None:
    recorder.answer(recorder.invoke("people", "submit", name="a"), run=1)
    story = a_story(tmp_path, recorder)
    words = [v.word for v in verdicts_of(story) if v.promise in ("P1", "P2", "P4")]

    assert words == ["not exercised"] * 3
    assert story.disturbances == 0
    assert a_story(tmp_path, recorder, done={"kill": 2, "network": 1}).disturbances == 2


def test_a_step_that_met_nobody_is_named(tmp_path: Path, recorder: Recorder) -> None:
    network = {"what": "network", "hop": "worker-gateway", "faults": [{"kind": "latency"}]}
    points = {"what": "points", "target": "any"}
    error = [{"at": "jobstore.finish.*", "action": "error"}]
    steps = [{**network, "at": 1}, {**points, "at": 1, "faults": error}]
    plan = ChaosPlan.model_validate({"name": "test", "steps": steps})
    recorder.event("worker-1-gateway", "struck", kind="latency")

    story = a_story(tmp_path, recorder, plan=plan)
    assert story.idle_steps() == ["points of any (steps.1)"]
    assert "struck nobody: points of any (steps.1)" in as_text(story, verdicts_of(story))

    recorder.event("jobstore", "struck", point="jobstore.finish.received", action="error")
    assert a_story(tmp_path, recorder, plan=plan).idle_steps() == []


def test_what_nobody_can_hear_is_not_judged_and_not_kept(
    tmp_path: Path, recorder: Recorder
) -> None:
    plan = ChaosPlan(name="test", expect=(Promise.P4,))
    story = a_story(tmp_path, recorder, plan=plan, is_attached=True)
    verdicts = verdicts_of(story)

    assert verdict_of(story, "P4").word == "not judged"
    assert verdict_of(story, "P4").unjudged == ("I7 announced",)
    assert failures(story, verdicts) == ["P4 is expected, and cannot be judged here"]
    assert "not judged, as workers are not heard here: I7 announced" in as_text(story, verdicts)


def refused(recorder: Recorder, attempt: str, at: float) -> None:
    asked = recorder.invoke("worker-0.1", "refuse", attempt=attempt, fence=1)
    recorder.entries[-1] = replace(asked, at=at)


def an_attempt(attempt: str, **fields: Any) -> AttemptView:
    usual: dict[str, Any] = dict.fromkeys(AttemptView.model_fields)
    usual |= {"attempt_id": attempt, "fence": 1, "worker_id": "w", "claimed_at": T0}
    usual |= {"status": "refused", "log_size_bytes": 0, "log_lost_bytes": 0}
    return AttemptView.model_validate(usual | fields)


@pytest.mark.parametrize(("apart_s", "word"), [(0.5, "broken"), (1.5, "kept")])
def test_a_job_that_is_refused_again_and_again_while_the_registry_is_away_breaks_p5(
    tmp_path: Path, recorder: Recorder, apart_s: float, word: str
) -> None:
    recorder.event("registry", "down", at=9.9)
    refused(recorder, "a-1", 10)
    refused(recorder, "a-2", 10 + apart_s)
    recorder.event("registry", "up", at=13.0, pid=1)
    final = FinalState()
    final.attempts[1, "a"] = (an_attempt("a-1"), an_attempt("a-2"))
    evidence = replace(a_story(tmp_path, recorder), final=final).evidence()

    assert (["broken"] if list(spaced(evidence)) else ["kept"]) == [word]


def a_run(tries: int, *attempts: AttemptView) -> FinalState:
    job: dict[str, Any] = dict.fromkeys(JobView.model_fields)
    job |= {"id": "a", "status": JobStatus.SUCCESS, "tries": tries, "attempts": len(attempts)}
    run: dict[str, Any] = dict.fromkeys(RunView.model_fields)
    run |= {"run_id": 1, "name": "test", "jobs": (JobView.model_construct(**job),)}
    return FinalState(runs={1: RunView.model_construct(**run)}, attempts={(1, "a"): attempts})


@pytest.mark.parametrize(("tries", "is_right"), [(1, True), (2, False), (0, False)])
def test_tries_are_judged_by_what_is_stored_where_workers_are_not_heard(
    tmp_path: Path, recorder: Recorder, tries: int, *, is_right: bool
) -> None:
    drained = an_attempt("a-2", status="reported", started_at=T0, outcome="drained")
    done = an_attempt("a-3", status="reported", started_at=T0, outcome="success")
    final = a_run(tries, an_attempt("a-1"), drained, done)

    evidence = replace(a_story(tmp_path, recorder), final=final).evidence()

    assert (list(stored_tries(evidence)) == []) is is_right


def test_a_job_that_was_claimed_before_its_need_had_ended_is_found(
    tmp_path: Path, recorder: Recorder
) -> None:
    spec = {
        "jobs": [{"id": "b", "command": "true"}, {"id": "a", "command": "true", "needs": ["b"]}]
    }
    pipelines = {"test": PipelineSpec.model_validate({"name": "test", **spec})}
    kinds = [("b", "job.claimed"), ("a", "job.claimed"), ("b", "job.success")]

    def found(order: list[tuple[str, str]]) -> list[str]:
        final = a_run(1)
        final.events[1] = [
            Event(seq=n, at=T0, kind=kind, run_id=RunId(1), job_id=JobId(job), attempt_id=None,
                  facts={})
            for n, (job, kind) in enumerate(order, start=1)
        ]  # fmt: skip
        story = replace(a_story(tmp_path, recorder), final=final, pipelines=pipelines)
        return list(waited(story.evidence()))

    assert found(kinds) == ["1/a was claimed before ['b'] ended"]
    assert found([kinds[0], kinds[2], kinds[1]]) == []


def test_a_refused_job_rests_for_as_long_as_the_job_service_says() -> None:
    scaled = JobStoreSettings.scaled_to(3.0)

    assert scaled.rest_s == pytest.approx(3.0 * REST_OF_LEASE)


def test_a_worker_that_was_killed_while_it_was_frozen_is_drawn_as_frozen(
    tmp_path: Path, recorder: Recorder
) -> None:
    recorder.event("worker-0", "up", pid=1)
    recorder.event("worker-0", "frozen")
    recorder.event("worker-0", "down", how="killed", exit_code=-9)

    page = timeline(a_story(tmp_path, recorder, took_s=3.0), [])

    assert "<title>frozen</title>" in page


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
