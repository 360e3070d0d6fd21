"""What is written of an event, and what never is."""

import io
import json
import logging
import re
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest
import structlog

from shared.logs import configure, in_one_write, is_secret
from tests.support.runtime import ManualRuntime

TOKEN = "eyJhbGciOiJFZERTQSJ9.eyJzdWIiOiJ3LTEifQ.c2lnbmF0dXJl"


@pytest.fixture(autouse=True)
def _logging_as_before() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level, configured = root.handlers[:], root.level, structlog.get_config()
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.configure(**configured)


@pytest.fixture
def out() -> io.StringIO:
    return io.StringIO()


def lines(out: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in out.getvalue().splitlines()]


def test_an_event_is_one_line_of_json_with_the_time_of_the_runtime(out: io.StringIO) -> None:
    configure(ManualRuntime(), stream=out)

    structlog.get_logger().info("job.claimed", job_id="a", fence=3)

    assert out.getvalue() == (
        '{"at": "2026-01-01T12:00:00.000Z", "level": "info", "event": "job.claimed", '
        '"job_id": "a", "fence": 3}\n'
    )


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_terminal_gets_lines_for_people() -> None:
    terminal = Terminal()
    configure(ManualRuntime(), stream=terminal)

    structlog.get_logger().warning("lease.expired", job_id="a")

    assert "lease.expired" in terminal.getvalue()
    assert not terminal.getvalue().startswith("{")


def test_lines_for_people_are_short_and_leave_out_what_is_none() -> None:
    terminal = Terminal()
    configure(ManualRuntime(), stream=terminal)

    structlog.get_logger().info(
        "attempt.stopped",
        attempt_id="01936a6c-7d1e-7c3a-9f00-0123456789ab",
        stop="cancel",
        why=None,
    )

    line = re.sub(r"\x1b\[[0-9;]*m", "", terminal.getvalue()).rstrip("\n")
    assert re.fullmatch(
        r"\d\d:\d\d:\d\d \[info\] attempt.stopped +attempt_id=…456789ab stop=cancel", line
    )
    assert len(line) <= 80


def test_what_is_below_the_level_is_not_written(out: io.StringIO) -> None:
    configure(ManualRuntime(), stream=out, level="warning")

    structlog.get_logger().info("job.claimed")
    structlog.get_logger().warning("lease.expired")

    assert [line["event"] for line in lines(out)] == ["lease.expired"]


@pytest.mark.parametrize(
    "name", ["token", "worker_token", "Authorization", "enrolment_secret", "password", "api_key"]
)
def test_a_value_with_the_name_of_a_secret_is_hidden(out: io.StringIO, name: str) -> None:
    configure(ManualRuntime(), stream=out)

    structlog.get_logger().info("worker.enrolled", **{name: "hunter2"}, facts={name: "hunter2"})

    assert "hunter2" not in out.getvalue()


@pytest.mark.parametrize("name", ["worker_id", "job_id", "fence", "timeout_s", "name", "key"])
def test_ordinary_facts_are_shown(name: str) -> None:
    assert not is_secret(name)


@pytest.mark.parametrize("as_json", [True, False])
def test_a_token_is_hidden_wherever_it_is_written(out: io.StringIO, as_json: bool) -> None:
    configure(ManualRuntime(), stream=out, as_json=as_json)
    log = structlog.get_logger()

    log.info("request.refused", message=f"cannot take {TOKEN}")
    log.info("request.refused", headers=["Authorization: Bearer correct-horse-battery"])
    try:
        raise ValueError(f"bad token {TOKEN}")
    except ValueError:
        log.exception("request.crashed")

    assert TOKEN not in out.getvalue()
    assert "correct-horse" not in out.getvalue()
    assert "ValueError: bad token ***" in out.getvalue()


@pytest.mark.parametrize("as_json", [True, False])
def test_a_traceback_shows_no_local_variables(out: io.StringIO, as_json: bool) -> None:
    configure(ManualRuntime(), stream=out, as_json=as_json)

    try:
        given = "hunter" + "2"
        int(given[:0])
    except ValueError:
        structlog.get_logger().exception("request.crashed")

    assert "ValueError" in out.getvalue()
    assert "hunter2" not in out.getvalue()


def test_libraries_speak_in_the_same_way(out: io.StringIO) -> None:
    configure(ManualRuntime(), stream=out)

    logging.getLogger("asyncio").error("Task exception was never %s", "retrieved")
    logging.getLogger("aiohttp").info("chatter")

    (line,) = lines(out)
    assert (line["level"], line["event"], line["library"]) == ("error", "library.spoke", "asyncio")
    assert line["message"] == "Task exception was never retrieved"


def test_a_stream_that_nobody_reads_stops_nobody(out: io.StringIO) -> None:
    configure(ManualRuntime(), stream=out)
    out.close()

    structlog.get_logger().info("job.claimed")


def test_a_fact_that_json_does_not_know_is_written_as_text(out: io.StringIO) -> None:
    configure(ManualRuntime(), stream=out)

    structlog.get_logger().info("job.claimed", error=ValueError("no"))

    assert lines(out)[0]["error"] == "no"


class Writes(io.StringIO):
    """Counts how often it was written to."""

    times = 0

    def write(self, text: str) -> int:
        self.times += 1
        return super().write(text)


def test_what_belongs_together_is_written_at_once_and_in_order() -> None:
    out = Writes()
    configure(ManualRuntime(), stream=out)
    log = structlog.get_logger()

    with suppress(ZeroDivisionError), in_one_write():
        log.info("run.submitted", run_id=1)
        log.info("job.queued", job_id="a")
        written_meanwhile = out.times
        raise ZeroDivisionError
    log.info("job.queued", job_id="b")

    assert (written_meanwhile, out.times) == (0, 2)
    assert [(line["event"], line.get("job_id")) for line in lines(out)] == [
        ("run.submitted", None),
        ("job.queued", "a"),
        ("job.queued", "b"),
    ]
