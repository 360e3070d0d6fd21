"""Runs as JSON Lines, CSV and JUnit XML: what programs read back is what happened."""

import csv
import io
import json
from xml.etree import ElementTree

import pytest

from shared.ids import JobId
from shared.reports.exports import COLUMNS, EXPORTS
from tests.support.views import a_job_view, a_reason, a_release, a_run_view, an_attempt


def exported(form: str) -> str:
    run, attempts = a_release()
    export = EXPORTS[form]
    return export.opening + "".join(export.of_run(run, attempts)) + export.closing


def suite() -> ElementTree.Element:
    found = ElementTree.fromstring(exported("junit")).find("testsuite")
    assert found is not None
    return found


def case(name: str) -> ElementTree.Element:
    found = suite().find(f"testcase[@name='{name}']")
    assert found is not None
    return found


def test_json_lines_have_the_run_and_then_each_job_with_its_attempts() -> None:
    run, *jobs = [json.loads(line) for line in exported("jsonl").splitlines()]

    assert (run["kind"], run["run_id"], run["status"]) == ("run", 7, "failed")
    assert [job["id"] for job in jobs] == [job.id for job in a_release()[0].jobs]
    assert {job["kind"] for job in jobs} == {"job"}
    compile_ = jobs[1]
    assert [attempt["exit_code"] for attempt in compile_["attempts"]] == [2, 0]
    assert compile_["duration_s"] == 83


def test_csv_has_a_line_for_each_job_under_named_columns() -> None:
    rows = list(csv.DictReader(io.StringIO(exported("csv"))))

    assert list(rows[0]) == list(COLUMNS)
    assert len(rows) == 8
    assert rows[3]["status"] == "failed"
    assert rows[3]["allow_failure"] == "true"
    assert rows[3]["exit_code"] == "2"
    assert rows[4]["message"] == "it ran longer than 30 s"
    assert rows[7]["started_at"] == rows[7]["duration_s"] == ""


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", " =1"])
def test_a_spreadsheet_takes_no_cell_for_a_formula(text: str) -> None:
    job = a_job_view("a", "failed", reason=a_reason(message=text))

    row = "".join(EXPORTS["csv"].of_run(a_run_view(job), {}))

    (cells,) = csv.reader(io.StringIO(row))
    assert cells[COLUMNS.index("message")].startswith("'")


def test_junit_counts_what_fails_the_run() -> None:
    found = suite()

    assert {name: found.get(name) for name in ("tests", "failures", "errors", "skipped")} == {
        "tests": "8",
        "failures": "1",
        "errors": "1",
        "skipped": "2",
    }
    assert len(found.findall("testcase")) == 8
    assert len(found.findall("testcase/failure")) == 1
    assert len(found.findall("testcase/error")) == 1
    assert len(found.findall("testcase/skipped")) == 2


def test_junit_tells_of_earlier_tries() -> None:
    assert [e.get("message") for e in case("compile").findall("flakyFailure")] == ["exited with 2"]
    assert [e.get("type") for e in case("browser").findall("rerunFailure")] == ["timeout", "lost"]


def test_a_wait_without_a_worker_is_no_earlier_try() -> None:
    job = a_job_view("a")
    parts = [an_attempt(1, 0, 1, None, outcome="deferred"), an_attempt(2, 5, 6, outcome="success")]

    text = "".join(EXPORTS["junit"].of_run(a_run_view(job), {JobId(job.id): parts}))

    assert "flakyFailure" not in text


def test_junit_skips_what_may_fail_and_says_how_it_ended() -> None:
    skipped = case("lint").find("skipped")

    assert skipped is not None
    assert skipped.get("message") == "failed (allowed): exited with 2"


@pytest.mark.parametrize("form", EXPORTS)
def test_no_export_breaks_on_what_a_job_says(form: str) -> None:
    nasty = ']]> <x a="1"> & \x00 \x1b[0m \ud800 \r\n \' , ;'
    job = a_job_view("a\ufffe<&\">'", "failed", reason=a_reason(nasty, nasty, nasty))
    run = a_run_view(job, name="n<\ufffe")
    attempts = {JobId(job.id): [an_attempt(1, 0, 1, 2, reason=a_reason(nasty, nasty))] * 2}

    text = EXPORTS[form].opening + "".join(EXPORTS[form].of_run(run, attempts))
    text += EXPORTS[form].closing

    assert text.encode()
    if form == "junit":
        ElementTree.fromstring(text)
    elif form == "csv":
        assert len(list(csv.reader(io.StringIO(text)))) == 2
    else:
        assert len([json.loads(line) for line in text.splitlines()]) == 2


def test_several_runs_make_one_junit_document() -> None:
    run, attempts = a_release()
    export = EXPORTS["junit"]

    text = export.opening + "".join(export.of_run(run, attempts)) * 2 + export.closing

    assert len(ElementTree.fromstring(text).findall("testsuite")) == 2
