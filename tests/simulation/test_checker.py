"""The checker finds each kind of broken promise in a story that is otherwise flawless."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest

from faults.judging.entry import EVENT, Entry
from shared.protocol.gateway import NOT_BEGUN
from shared.protocol.jobs import Reason
from shared.protocol.pipeline import CheckSpec
from shared.protocol.states import AttemptStatus, JobStatus, RunStatus
from simulation.runner import line_of
from tests.simulation.told import (
    KEY,
    T0,
    Story,
    an_event,
    told_story,
)


def test_a_flawless_story_is_found_flawless() -> None:
    assert told_story().verdict() == []


def lose_a_submit(s: Story) -> None:
    s.submit("q", 2)


def store_what_nobody_submitted(s: Story) -> None:
    s.drop("submit", "submitter.1")


def leave_a_job_unended(s: Story) -> None:
    s.job(status=JobStatus.QUEUED)


def end_a_run_otherwise_than_its_jobs(s: Story) -> None:
    s.run(status=RunStatus.FAILED)


def take_an_end_back(s: Story) -> None:
    s.event("onlooker.1", "seen", run=1, status=None, ended={"job": "failed"})


def grant_one_fence_twice(s: Story) -> None:
    s.event("worker-2.1", "claim", run=1, job="job", attempt="won", fence=3)


def forget_a_claim(s: Story) -> None:
    s.final.attempts[KEY] = s.final.attempts[KEY][1:]


def lower_a_fence(s: Story) -> None:
    s.attempt(1, fence=3)


def leave_a_lease_open(s: Story) -> None:
    s.attempt(1, status=AttemptStatus.RUNNING)


def renew_an_old_lease(s: Story) -> None:
    s.call("worker-0.1", "heartbeat", {"renewed": ["lost"]})


def run_an_old_attempt(s: Story) -> None:
    s.call("worker-0.1", "run", {"tries": 3}, attempt="lost")


def accept_an_old_result(s: Story) -> None:
    s.finish("worker-0.1", "lost", 2, "r2")


def lose_a_finish(s: Story) -> None:
    s.attempt(2, status=AttemptStatus.LOST)


def change_a_receipt(s: Story) -> None:
    s.attempt(2, receipt_id="r9")


def change_an_exit_code(s: Story) -> None:
    s.attempt(2, exit_code=1)


def lose_an_artifact(s: Story) -> None:
    s.final.artifacts[KEY] = {}


def spoil_an_artifact(s: Story) -> None:
    s.final.artifacts[KEY] = {"out.txt": b"something else"}


def lose_log_bytes(s: Story) -> None:
    s.final.logs["won"] = line_of("won", 0)


def succeed_without_a_process(s: Story) -> None:
    s.drop("exit", "worker-1.1")


def start_unannounced(s: Story) -> None:
    s.drop("report", "worker-1.1")


def start_on_an_older_report(s: Story) -> None:
    s.entries = [
        Entry(e.n, e.at, e.who, e.op, e.phase, 0, e.facts) if e.op == "report" else e
        for e in s.entries
    ]


def start_unclaimed(s: Story) -> None:
    s.event("worker-2.1", "spawn", attempt="won", inputs=[])


def charge_a_refusal(s: Story) -> None:
    s.job(tries=3)


def start_for_nothing(s: Story) -> None:
    s.job(tries=1)


def forget_a_refusal(s: Story) -> None:
    s.attempt(0, status=AttemptStatus.LAPSED)


def give_back_what_had_begun(s: Story) -> None:
    why = Reason(who="operator", what="drained", message=NOT_BEGUN)
    s.attempt(1, status=AttemptStatus.REPORTED, reason=why)


def run_a_lapsed_claim(s: Story) -> None:
    s.attempt(1, status=AttemptStatus.LAPSED)


def run_two_at_once(s: Story) -> None:
    s.drop("exit", "worker-0.1")


def place_inputs_from_nowhere(s: Story) -> None:
    s.event("worker-1.1", "spawn", attempt="won", inputs=[("out.txt", b"?")])


def grant_beside_a_live_lease(s: Story) -> None:
    del s.final.events[1][6]  # job.requeued


def end_twice(s: Story) -> None:
    s.happened(10, "job.success", "won")


def let_an_old_attempt_end_the_job(s: Story) -> None:
    s.final.events[1][9] = an_event("job.success", "lost")


def call_the_holder_late(s: Story) -> None:
    s.happened(9, "attempt.reported_late", "won")


def end_without_a_word(s: Story) -> None:
    del s.final.events[1][9]


def crash_on_a_request(s: Story) -> None:
    s.fail("worker-1.1", "run", "ServiceError")


def retry_too_often(s: Story) -> None:
    s.happened(10, "job.retrying", None)


def claim_what_was_cancelled(s: Story) -> None:
    s.event("submitter.1", "cancelled", run=1, job=None)
    s.call("worker-1.1", "poll")
    s.event("worker-1.1", "claim", run=1, job="job", attempt="won", fence=3)


def go_on_with_what_was_cancelled(s: Story) -> None:
    s.event("submitter.1", "cancelled", run=1, job="job")
    s.call("worker-1.1", "heartbeat", {"renewed": ["won"], "to_stop": [], "gone": []})


def repeat_a_claim_with_another_fence(s: Story) -> None:
    s.event("worker-1.1", "claim", run=1, job="job", attempt="won", fence=4)


def give_more_to_a_repeated_poll(s: Story) -> None:
    for place, attempt, at in ((0, "refused", T0), (1, "other", T0 + timedelta(seconds=1))):
        event = an_event("job.claimed", attempt, fence=9, claim_id="poll")
        s.final.events[1].insert(place, event.model_copy(update={"at": at}))


def exceed_max_workers(s: Story) -> None:
    event = an_event("job.claimed", "other", fence=1)
    s.final.events[1].insert(2, event.model_copy(update={"job_id": "other"}))


def offer_a_refused_job_at_once(s: Story) -> None:
    s.rest_s = 100.0


def run_on_after_its_time(s: Story) -> None:
    s.stop_s = 0.5


def run_on_when_told_to_stop(s: Story) -> None:
    s.call("worker-1.1", "heartbeat", {"renewed": [], "to_stop": [], "gone": ["won"]})
    s.event("worker-1.1", "exit", attempt="won", exit_code=0, signal=None, log_bytes=240)
    s.stop_s = 0.5


def start_an_attempt_twice(s: Story) -> None:
    s.event("worker-1.2", "spawn", attempt="won", inputs=[])


def run_more_than_there_are_slots(s: Story) -> None:
    s.call("worker-1.1", "enrol", {"worker": "w", "incarnation": 1}, name="worker-1", slots=0)
    s.entries.insert(0, s.entries.pop())


def obey_a_superseded_worker(s: Story) -> None:
    s.call("usurper.1", "enrol", {"worker": "w", "incarnation": 2}, name="worker-1", slots=1)
    s.call("worker-1.1", "report", status="Working", attempts=[], worker="w", incarnation=1)


def never_report_an_end(s: Story) -> None:
    s.drop("finish", "worker-1.1")
    s.fail("worker-1.1", "finish", "Unauthenticated")
    s.entries.append(Entry(99, 99.0, "world.1", "mended", EVENT, 99, {}))


def forget_with_the_power(s: Story) -> None:
    s.final.again = replace(s.final, logs={"won": b""})


def succeed_without_its_checks(s: Story) -> None:
    s.post_checks = (CheckSpec(name="check_file_exists", params={"path": "out.txt"}),)


def wake_what_does_not_wait(s: Story) -> None:
    s.happened(5, "job.resumed", None)


def go_on_unwoken(s: Story) -> None:
    s.happened(5, "job.deferred", "lost")


def go_on_from_another_wait(s: Story) -> None:
    arguments = {"by": "refused", "callback": None}
    s.event("worker-1.1", "resumed", attempt="won", arguments=arguments, event={"at": "now"})


def go_on_with_what_nobody_said(s: Story) -> None:
    wait_for_a_while(s)
    arguments = {"by": "lost", "callback": "c"}
    s.event("worker-1.1", "resumed", attempt="won", arguments=arguments, event={"callback": "c"})


def keep_a_value_twice(s: Story) -> None:
    s.call("worker-1.1", "set_xcom", attempt="won", key="k", value="1")
    found = {"is_found": True, "value": "[1, 1]"}
    s.call("worker-1.1", "get_xcom", found, attempt="won", job="job", key="k")


def leave_what_a_lost_try_left(s: Story) -> None:
    s.call("worker-0.1", "set_xcom", attempt="lost", key="k", value="1")
    s.call("worker-1.1", "list_xcoms", {"keys": ["k"]}, attempt="won", job="job")


def charge_a_wait(s: Story) -> None:
    wait_for_a_while(s)
    s.job(tries=2)


def wait_for_a_while(s: Story) -> None:
    """What was lost in the story goes to sleep instead, and the next attempt goes on from it."""
    s.final.events[1][5:7] = [
        an_event("job.deferred", "lost"),
        an_event("job.resumed", None),
        an_event("job.queued", None),
    ]
    s.attempt(1, status=AttemptStatus.REPORTED, exit_code=None, receipt_id="r0")
    s.final.logs["lost"] = b""
    s.job(tries=1)


def test_a_wait_spends_no_try_and_keeps_what_was_left_before() -> None:
    story = told_story()
    story.call("worker-0.1", "set_xcom", attempt="lost", key="k", value="1")

    wait_for_a_while(story)
    found = {"is_found": True, "value": "1"}
    story.call("worker-1.1", "get_xcom", found, attempt="won", job="job", key="k")

    assert story.verdict() == []


@pytest.mark.parametrize(
    ("spoil", "line"),
    [
        (lose_a_submit, "P1: acknowledged submit of q is lost"),
        (store_what_nobody_submitted, "P1: p was never submitted"),
        (leave_a_job_unended, "P1: job 1/job never ended"),
        (end_a_run_otherwise_than_its_jobs, "P1: run 1 is failed, its jobs say success"),
        (take_an_end_back, "P1: job 1/job was seen failed, is success"),
        (grant_one_fence_twice, "was granted to"),
        (forget_a_claim, "P2: acknowledged claim refused is not in the store"),
        (lower_a_fence, "do not rise: [1, 3, 3]"),
        (leave_a_lease_open, "still holds a lease"),
        (renew_an_old_lease, "P2: the lease of lost was renewed after a newer claim"),
        (run_an_old_attempt, "P2: run of lost was accepted after a newer claim"),
        (accept_an_old_result, "P2: the result of lost was accepted after a newer claim"),
        (lose_a_finish, "P3: acknowledged finish of won is lost"),
        (change_a_receipt, "P3: receipt r1 of won is r9"),
        (change_an_exit_code, "P3: won reported 0: 1 kept"),
        (lose_an_artifact, "P3: artifacts of won are []"),
        (spoil_an_artifact, "P3: artifact out.txt of 1/job is not what was made"),
        (lose_log_bytes, "P7: the log of won has 120 bytes, its process wrote 240"),
        (succeed_without_a_process, "P2: job 1/job is a success that its last claim did not earn"),
        (start_unannounced, "P4: worker-1.1 started won without an acknowledged Working"),
        (start_on_an_older_report, "P4: worker-1.1 started won without an acknowledged Working"),
        (start_unclaimed, "P4: worker-2.1 started won, which it never claimed"),
        (charge_a_refusal, "P5: 1/job spent 3 tries on 2 starts"),
        (start_for_nothing, "P5: 1/job spent 1 tries on 2 starts"),
        (forget_a_refusal, "P5: acknowledged refusal of refused is lost"),
        (give_back_what_had_begun, "P5: lost was given back as not begun, and its process had"),
        (run_a_lapsed_claim, "P5: lost of 1/job is lapsed, and was run"),
        (run_two_at_once, "P6: lost still ran when won of the same job began"),
        (place_inputs_from_nowhere, "began with inputs ['out.txt'], not []"),
        (grant_beside_a_live_lease, "lost still holds the lease"),
        (end_twice, "it had ended with job.success"),
        (let_an_old_attempt_end_the_job, "the lease is with won"),
        (call_the_holder_late, "a report by the holder of the lease was called late"),
        (crash_on_a_request, "run of worker-1.1 met an internal error"),
        (retry_too_often, "P5: 1/job was retried 1 times, 0 were allowed"),
        (claim_what_was_cancelled, "P1: (1, 'job') was claimed by worker-1.1 after"),
        (go_on_with_what_was_cancelled, "P1: won of (1, 'job') was cancelled, and its worker"),
        (repeat_a_claim_with_another_fence, "P2: claim won was told as"),
        (give_more_to_a_repeated_poll, "P2: claim poll held refused, and got other beside it"),
        (exceed_max_workers, "P2: run 1 has 2 jobs at work, max_workers is 1"),
        (offer_a_refused_job_at_once, "P5: (1, 'job') was given to worker-1.1"),
        (run_on_after_its_time, "P1: lost of (1, 'job') ran for 1.0 s, and had 0.25 s"),
        (run_on_when_told_to_stop, "P6: won ran for 1.0 s after worker-1.1 was told to stop it"),
        (start_an_attempt_twice, "P2: won was started 2 times"),
        (run_more_than_there_are_slots, "P8: worker-1 ran 1 jobs, and has 0 slots"),
        (obey_a_superseded_worker, "P4: worker-1.1 was obeyed as incarnation 1"),
        (never_report_an_end, "P7: the end of won on worker-1 was never reported"),
        (forget_with_the_power, "P3: logs of won are others after a loss of power"),
        (succeed_without_its_checks, "P2: job 1/job is a success, and its post-checks did not"),
        (wake_what_does_not_wait, "P2: 1/job, event 1: it was woken, and did not wait"),
        (go_on_unwoken, "job.claimed: nothing has woken it"),
        (go_on_from_another_wait, "P2: won of (1, 'job') goes on from refused, not from None"),
        (go_on_with_what_nobody_said, "which nobody has posted to c"),
        (keep_a_value_twice, "P2: won found [1, 1] of 1/job under 'k': it left 1"),
        (leave_what_a_lost_try_left, "P2: won found ['k'] of 1/job, which left []"),
        (charge_a_wait, "P5: 1/job spent 2 tries on 2 starts"),
        (end_without_a_word, "P1: 1/job is success, its events end with None"),
    ],
    ids=lambda value: value.__name__ if callable(value) else "",
)
def test_the_checker_finds_it_when_someone_managed_to(
    spoil: Callable[[Story], None], line: str
) -> None:
    story = told_story()

    spoil(story)

    assert [found for found in story.verdict() if line in found]


def test_a_job_service_that_began_anew_knows_of_no_rest() -> None:
    story = told_story()
    story.rest_s = 100.0
    given_again = next(n for n, e in enumerate(story.entries) if e.facts.get("attempt") == "lost")
    fell = Entry(0, given_again - 0.5, "world.1", "gave_up", EVENT, 0, {"process": "jobstore.1"})

    assert any("after a refusal" in found for found in story.verdict())
    story.entries.insert(given_again, fell)
    assert not any("after a refusal" in found for found in story.verdict())


def test_a_worker_that_was_killed_while_its_job_was_started_cannot_stop_it_in_time() -> None:
    story = told_story()
    story.stop_s = 0.5
    started = next(n for n, e in enumerate(story.entries) if e.op == "spawn")
    facts = {"node": "worker-0", "point": "worker.spawn.before"}
    fell = Entry(0, started - 0.5, "worker-0.1", "killed_at_point", EVENT, 0, facts)

    assert any("lost of (1, 'job') ran for" in found for found in story.verdict())
    story.entries.insert(started, fell)
    assert not any("lost of (1, 'job') ran for" in found for found in story.verdict())
