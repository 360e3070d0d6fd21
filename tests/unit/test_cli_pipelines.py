"""What the command line changes in a document, and how it refuses nonsense."""

from pathlib import Path

import pytest

from drawbar.cli.failures import Usage
from drawbar.cli.parsing import checked_name, parse_address, parse_policy
from drawbar.cli.pipelines import load_pipeline, start_of, submitted_from
from drawbar.document import BadDocument
from shared.protocol.pipeline import OnError

DOCUMENT = """
name: p
env: {A: pipeline, B: pipeline}
max_workers: 4
jobs:
  - {id: plain, command: "true"}
  - {id: own, command: "true", env: {A: job, C: job}}
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "p.yaml"
    path.write_text(DOCUMENT)
    return path


def test_a_variable_of_the_command_line_wins_over_pipeline_and_job(file: Path) -> None:
    spec = load_pipeline(file, ["A=command", "A=last=one"])

    assert spec.env == {"A": "last=one", "B": "pipeline"}
    assert {**spec.env, **spec.jobs[1].env} == {"A": "last=one", "B": "pipeline", "C": "job"}


@pytest.mark.parametrize("pair", ["A", "=x", "1A=x", "A B=x", "A=\0"])
def test_a_variable_that_cannot_be_one_is_refused(file: Path, pair: str) -> None:
    with pytest.raises(Usage, match="--env"):
        load_pipeline(file, [pair])


def test_sequential_is_one_job_at_a_time(file: Path) -> None:
    assert load_pipeline(file, is_sequential=True).max_workers == 1


def test_parallel_lifts_only_the_limit_to_one(file: Path) -> None:
    limited = load_pipeline(file, is_parallel=True).max_workers
    file.write_text(DOCUMENT.replace("max_workers: 4", "parallel: false"))
    lifted = load_pipeline(file, is_parallel=True).max_workers

    assert (limited, lifted) == (4, None)


def test_workers_take_the_place_of_the_documents_own_number(file: Path) -> None:
    assert load_pipeline(file, workers=8).max_workers == 8


def test_workers_make_no_sequential_document_parallel(file: Path) -> None:
    file.write_text(DOCUMENT.replace("max_workers: 4", "parallel: false"))

    one_by_one = load_pipeline(file, workers=8)
    side_by_side = load_pipeline(file, workers=8, is_parallel=True)

    assert (one_by_one.max_workers, side_by_side.max_workers) == (1, 8)


@pytest.mark.parametrize(
    ("fail_fast", "found"), [(False, OnError.CONTINUE), (True, OnError.CANCEL)]
)
def test_the_command_line_says_what_a_failure_means(
    file: Path, fail_fast: bool, found: OnError
) -> None:
    file.write_text(f"{DOCUMENT}on_error: stop\n")

    assert load_pipeline(file).on_error is OnError.STOP
    spec = load_pipeline(file, continue_on_error=not fail_fast, fail_fast=fail_fast)
    assert spec.on_error is found


def test_continue_on_error_and_fail_fast_at_once_are_refused(file: Path) -> None:
    with pytest.raises(Usage, match="contradict"):
        load_pipeline(file, continue_on_error=True, fail_fast=True)


def test_a_parameter_of_the_command_line_is_filled_in(file: Path) -> None:
    file.write_text("params: {who: nobody}\njobs: [{id: a, command: 'echo ${{ params.who }}'}]\n")

    assert load_pipeline(file, params=["who=ada"]).jobs[0].command == "echo ada"
    with pytest.raises(BadDocument, match="wo"):
        load_pipeline(file, params=["wo=ada"])


def test_skipped_jobs_are_named_in_document_order_and_a_matrix_as_a_whole(file: Path) -> None:
    file.write_text(
        "jobs:\n  - {id: t, command: x, matrix: {py: [3, 4]}}\n  - {id: b, command: x}\n"
    )
    spec = load_pipeline(file)

    assert start_of(spec, skip=["b", "t", "b"]).skip == ("t[py=3]", "t[py=4]", "b")
    assert start_of(spec, skip=["t[py=4]"]).skip == ("t[py=4]",)


def test_a_skipped_job_that_does_not_exist_is_told_with_the_nearest_name(file: Path) -> None:
    with pytest.raises(Usage, match=r"--skip plian: .* \(did you mean 'plain'\?\)"):
        start_of(load_pipeline(file), skip=["plian"])


def test_only_what_failed_needs_a_run_in_which_it_failed(file: Path) -> None:
    with pytest.raises(Usage, match="--resume RUN"):
        start_of(load_pipeline(file), failed_only=True)


def test_sequential_and_parallel_at_once_are_refused(file: Path) -> None:
    with pytest.raises(Usage, match="contradict"):
        load_pipeline(file, is_sequential=True, is_parallel=True)


def test_jobs_can_tell_where_they_were_submitted_unless_the_document_says_otherwise(
    file: Path,
) -> None:
    spec = load_pipeline(file)
    told = load_pipeline(file, ["DRAWBAR_SUBMIT_DIR=/elsewhere"])

    assert submitted_from(spec, Path("/here")).env["DRAWBAR_SUBMIT_DIR"] == "/here"
    assert submitted_from(told, Path("/here")).env["DRAWBAR_SUBMIT_DIR"] == "/elsewhere"


@pytest.mark.parametrize(
    ("listen", "address"),
    [
        ("127.0.0.1:7402", ("127.0.0.1", 7402)),
        ("[::1]:0", ("::1", 0)),
        (":80", ("0.0.0.0", 80)),
        ("jobs.internal:65535", ("jobs.internal", 65_535)),
    ],
)
def test_an_address_is_host_and_port(listen: str, address: tuple[str, int]) -> None:
    assert parse_address(listen) == address


@pytest.mark.parametrize(
    "listen", ["", "7402", "host:", "host:http", "host:65536", "host:-1", "h:²"]
)
def test_what_is_no_address_is_refused_with_an_example(listen: str) -> None:
    with pytest.raises(Usage, match=r"for example 127\.0\.0\.1:7402"):
        parse_address(listen)


def test_the_registry_policy_is_one_of_three() -> None:
    assert [parse_policy(text) for text in ("strict", "off", "grace=2.5")] == ["strict", "off", 2.5]


@pytest.mark.parametrize("text", ["", "lax", "grace", "grace=", "grace=-1", "grace=nan", "off=1"])
def test_another_policy_is_refused(text: str) -> None:
    with pytest.raises(Usage, match="grace=SECONDS"):
        parse_policy(text)


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "a\nb", "x" * 201])
def test_a_worker_cannot_have_a_name_that_is_no_folder(name: str) -> None:
    with pytest.raises(Usage, match="folder"):
        checked_name(name)
