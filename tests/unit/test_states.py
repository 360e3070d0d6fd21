"""The tables of jobstore/states.py are whole: every state is reached, every end is an end."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Any

import pytest

from jobstore.components.states import COMPONENT
from jobstore.states import ATTEMPT, JOB, LIVE, RUN, STAGE, RunEvent, StageEvent, after
from jobstore.states import JobEvent as E
from shared.errors import IllegalTransition
from shared.protocol.components import ComponentStatus
from shared.protocol.states import AttemptStatus, JobStatus, RunStatus, StageStatus

TABLES = [
    pytest.param(JOB, JobStatus, JobStatus.PENDING, id="job"),
    pytest.param(ATTEMPT, AttemptStatus, AttemptStatus.CLAIMED, id="attempt"),
    pytest.param(RUN, RunStatus, RunStatus.PENDING, id="run"),
    pytest.param(STAGE, StageStatus, StageStatus.PENDING, id="stage"),
    pytest.param(COMPONENT, ComponentStatus, ComponentStatus.CREATED, id="component"),
]


@pytest.mark.parametrize(("table", "states", "first"), TABLES)
def test_every_state_is_reached_from_the_first(
    table: Mapping[tuple[Any, Any], Any], states: type[StrEnum], first: StrEnum
) -> None:
    reached, frontier = {first}, [first]
    while frontier:
        state = frontier.pop()
        new = {to for (source, _), to in table.items() if source is state} - reached
        reached |= new
        frontier += new

    assert reached == set(states)


def test_only_a_persons_mark_leads_out_of_an_end() -> None:
    assert {event for source, event in JOB if source.is_ended} == {E.MARK, E.REVIVE}
    assert {event for source, event in RUN if source.is_ended} == {RunEvent.MARK}


def test_nothing_leads_out_of_a_success() -> None:
    assert not [event for source, event in JOB if source is JobStatus.SUCCESS]
    assert not [event for source, event in RUN if source is RunStatus.SUCCESS]


def test_a_stage_that_succeeded_is_only_ever_reopened() -> None:
    leaving = {event for source, event in STAGE if source is StageStatus.SUCCESS}

    assert leaving == {StageEvent.REOPEN}


def test_every_job_can_be_marked_but_one_that_a_worker_has() -> None:
    markable = {source for source, event in JOB if event is E.MARK}

    assert set(JobStatus) - markable == {
        JobStatus.PENDING,
        JobStatus.CLAIMED,
        JobStatus.RUNNING,
        JobStatus.SUCCESS,
    }


def test_every_job_that_is_not_ended_can_be_cancelled() -> None:
    open_states = {s for s in JobStatus if not s.is_ended and s is not JobStatus.PENDING}

    assert {s for s, event in JOB if event is E.CANCEL} == open_states


def test_only_a_queued_job_can_be_claimed() -> None:
    assert [s for s, event in JOB if event is E.CLAIM] == [JobStatus.QUEUED]


def test_only_a_claimed_job_can_be_refused_or_lapse() -> None:
    assert [s for s, event in JOB if event in (E.REFUSE, E.LAPSE)] == [JobStatus.CLAIMED] * 2


def test_attempts_that_hold_a_lease_are_those_that_have_not_ended() -> None:
    assert set(LIVE) == {AttemptStatus.CLAIMED, AttemptStatus.RUNNING}


def test_an_edge_that_is_not_in_the_table_is_refused_with_the_state() -> None:
    with pytest.raises(IllegalTransition) as caught:
        after(JOB, JobStatus.SUCCESS, E.CANCEL)

    assert caught.value.facts == {"state": "success", "event": "cancel"}
