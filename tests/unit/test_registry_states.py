"""The worker's state machine in the registry."""

import pytest

from registry.states import (
    AFTER_ENROLMENT,
    REPORTED,
    SHOWN,
    TRANSITIONS,
    WorkerEvent,
    WorkerState,
    after,
    reported,
)
from shared.errors import BadRequest, UnknownWorker
from shared.protocol.states import Desired, WorkerStatus


def test_every_state_is_shown_as_something() -> None:
    assert set(SHOWN) == set(WorkerState)


def test_every_wish_has_a_fate_when_the_worker_enrols_again() -> None:
    assert set(AFTER_ENROLMENT) == set(Desired)


def test_a_worker_can_report_every_status_but_offline() -> None:
    assert set(REPORTED) == set(WorkerStatus) - {WorkerStatus.OFFLINE}


def test_a_report_is_shown_as_it_was_made() -> None:
    shown = {s: SHOWN[after(WorkerState.EXPECTED, reported(s))] for s in REPORTED}

    assert shown == {status: status for status in REPORTED}


def test_offline_is_not_a_worker_s_word() -> None:
    with pytest.raises(BadRequest):
        reported(WorkerStatus.OFFLINE)


@pytest.mark.parametrize("event", REPORTED.values())
def test_only_enrolment_brings_back_a_worker_that_left(event: WorkerEvent) -> None:
    with pytest.raises(UnknownWorker):
        after(WorkerState.LEFT, event)

    assert after(WorkerState.LEFT, WorkerEvent.ENROL) is WorkerState.EXPECTED


@pytest.mark.parametrize("state", WorkerState)
def test_a_worker_can_always_enrol_and_always_leave(state: WorkerState) -> None:
    assert after(state, WorkerEvent.ENROL) is WorkerState.EXPECTED
    assert after(state, WorkerEvent.LEAVE) is WorkerState.LEFT


def test_who_is_offline_does_not_fall_silent_again() -> None:
    silent = {state for state, event in TRANSITIONS if event is WorkerEvent.FALL_SILENT}

    assert {SHOWN[state] for state in silent} == set(WorkerStatus) - {WorkerStatus.OFFLINE}
