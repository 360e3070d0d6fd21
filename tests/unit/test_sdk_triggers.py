"""Triggers as flow files write them, and as the job service reads them."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from drawbar import Defer, Task, task, triggers
from jobstore.triggers.kinds import Delta, File, Http, Job, Question, Run, Time, read_trigger, says
from shared.protocol.execution import TriggerSpec

NOON = datetime(2026, 1, 1, 12, 0, tzinfo=UTC)


def go_on(event: Any) -> None: ...


@task
def other() -> None: ...


@pytest.mark.parametrize(
    ("trigger", "read", "told"),
    [
        (triggers.at(NOON), Time(kind="time", at=NOON), "until 2026-01-01 12:00:00 UTC"),
        (
            triggers.after(timedelta(minutes=2)),
            Delta(kind="delta", seconds=120),
            "until 2026-01-01 12:02:00 UTC",
        ),
        (
            triggers.file("/in/a.csv", settled="10s"),
            File(kind="file", path="/in/a.csv", settled_s=10),
            "for the file /in/a.csv",
        ),
        (
            triggers.http("https://ci/7?key=hush", status=[200, 204], select="$.a", equals=None),
            Http(
                kind="http",
                url="https://ci/7?key=hush",
                status=(200, 204),
                select="$.a",
                equals=None,
            ),
            "for https://ci/7",
        ),
        (triggers.run_ended(7), Run(kind="run", run_id=7), "for the end of run 7"),
        (triggers.job_ended(other), Job(kind="job", job_id="other"), "for the end of other"),
        (
            triggers.question("Go?", fields=[triggers.field("n", "number", default=1)]),
            Question.model_validate(
                {
                    "kind": "question",
                    "question": "Go?",
                    "fields": [{"name": "n", "kind": "number", "default": 1}],
                }
            ),
            "for an answer: Go?",
        ),
    ],
    ids=lambda value: getattr(value, "kind", None),
)
def test_what_a_task_writes_is_what_the_job_service_reads(
    trigger: triggers.Trigger, read: Any, told: str
) -> None:
    found = read_trigger(
        TriggerSpec.model_validate({"kind": trigger.kind, "params": trigger.params})
    )

    assert found == read
    assert says(found, NOON) == told


@pytest.mark.parametrize("resume", [go_on, "go_on"])
def test_a_task_names_where_it_goes_on(resume: Any) -> None:
    outcome = Defer(triggers.after("1m"), resume=resume, timeout="2m", on_timeout=other)

    assert outcome.fields == {
        "trigger": {"kind": "delta", "params": {"seconds": 60.0}},
        "next_method": "go_on",
        "arguments": {},
        "timeout_s": 120.0,
        "on_timeout": "other",
    }
    assert isinstance(other, Task)


def test_a_time_needs_its_offset_and_a_function_its_name() -> None:
    with pytest.raises(ValueError, match="does not say its offset"):
        triggers.at(datetime(2026, 1, 1))  # noqa: DTZ001  # that is what is refused
    with pytest.raises(ValueError, match="a function at the top"):
        Defer(triggers.after(1), resume=lambda event: None)
