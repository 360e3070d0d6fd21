"""The commands that look back, typed by a person: `drawbar run` before, and no service at all."""

import csv
import io
import json
from pathlib import Path
from xml.etree import ElementTree

import pytest

from tests.support.cli import Command

PIPELINE = """
name: release
jobs:
  - {id: build, command: "echo 42 > app; echo built; exit ${BUILD:-0}", artifacts: [app]}
  - {id: flaky, command: "test -e again && exit 0; touch again; exit 7", working_dir: ".",
     retry: {max: 2, delay: 0.01}}
  - {id: check, command: "exit ${CODE:-0}", needs: build}
"""


@pytest.fixture(scope="module")
def two_runs(tmp_path_factory: pytest.TempPathFactory) -> Command:
    """Run 1 succeeded, at the second try of `flaky`; in run 2 `check` failed."""
    command = Command(tmp_path_factory.mktemp("two-runs"))
    command.write("p.yaml", PIPELINE)
    assert command.run("run", "p.yaml").returncode == 0
    assert command.run("run", "p.yaml", "--env", "CODE=3").returncode == 1
    return command


@pytest.fixture
def drawbar(two_runs: Command, tmp_path: Path) -> Command:
    """Where two runs have ended; each test has a copy."""
    return two_runs.twin(tmp_path / "copy")


def test_runs_can_be_narrowed(drawbar: Command) -> None:
    def numbers(*words: str) -> list[int]:
        return [run["run_id"] for run in drawbar.json("runs", *words)]

    assert numbers() == [2, 1]
    assert numbers("--status", "failed") == [2]
    assert numbers("--before", "2") == [1]
    assert numbers("--limit", "1") == [2]
    assert numbers("--name", "release", "--since", "1h") == [2, 1]
    assert numbers("--name", "other") == numbers("--since", "2999-01-01") == []
    assert drawbar.run("runs", "--name", "other").stdout == "no run matches\n"
    assert "--before 2" in drawbar.run("runs", "--limit", "1").stderr


def test_history_tells_of_a_job_and_of_a_pipeline(drawbar: Command) -> None:
    check = drawbar.run("history", "check")
    table = drawbar.run("history")
    flaky = drawbar.json("history", "flaky", "--pipeline", "release")

    assert "check of release: 50 % success (1 of 2 that ran)" in check.stdout
    assert [line.split()[0] for line in table.stdout.splitlines()[2:]] == [
        "build",
        "flaky",
        "check",
    ]
    assert (flaky["runs"], flaky["success_rate"], flaky["flaky"]) == (2, 1.0, 1)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["history", "biuld"], "did you mean 'build'?"),
        (["history", "release"], "drawbar history --pipeline release"),
        (["history", "--pipeline", "relaese"], "did you mean 'release'?"),
        (["diff", "1", "9"], "there is no run 9"),
        (["export"], "name a run, or give --all"),
        (["export", "1", "--all"], "name a run, or give --all"),
        (["export", "1", "--since", "2d"], "narrow --all"),
        (["export", "9"], "there is no run 9"),
        (["export", "1", "-o", "no/such/folder"], "cannot write"),
        (["report", "9"], "there is no run 9"),
        (["report", "1", "-o", "."], "cannot write"),
        (["prune", "--keep", "90"], "--keep takes a time like 90d"),
        (["runs", "--since", "tuesday"], "--since takes an age"),
    ],
)
def test_a_mistake_gets_one_clear_line(drawbar: Command, words: list[str], said: str) -> None:
    ended = drawbar.run(*words)

    assert ended.returncode in (1, 2)
    assert said in ended.stderr
    assert len(ended.stderr.splitlines()) == 1
    assert not ended.stdout


def test_before_any_run_there_is_a_hint(tmp_path: Path) -> None:
    command = Command(tmp_path)
    command.write("one.yaml", "jobs: [{id: a, command: 'true'}]\nname: one")
    command.run("run", "one.yaml")
    command.run("prune", "--keep", "0s")

    assert "start one with: drawbar run FILE" in command.run("history").stderr
    assert "start one with: drawbar run FILE" in command.run("runs").stdout


def test_diff_lists_what_became_of_jobs_and_what_was_changed(drawbar: Command) -> None:
    said = drawbar.run("diff", "1", "2").stdout
    check = next(line for line in said.splitlines() if line.startswith("check"))
    found = drawbar.json("diff", "1", "2")

    assert "success" in check
    assert "failed" in check
    assert check.split()[-1] == "env"  # --env reaches every job
    assert {job["job_id"]: job["after"] for job in found["jobs"]}["check"] == "failed"


def test_diff_of_a_run_with_itself_says_that_nothing_differs(drawbar: Command) -> None:
    assert "3 jobs each did the same" in drawbar.run("diff", "1", "1").stdout
    assert drawbar.run("diff", "1", "1", "--all").stdout.count("✔ success") >= 6


def test_every_format_can_be_exported(drawbar: Command) -> None:
    lines = drawbar.run("export", "1").stdout.splitlines()
    table = list(csv.DictReader(io.StringIO(drawbar.run("export", "2", "--format=csv").stdout)))
    drawbar.run("export", "--all", "-o", "all.xml")
    suites = ElementTree.parse(drawbar.folder / "all.xml").getroot().findall("testsuite")

    assert [json.loads(line)["kind"] for line in lines] == ["run", "job", "job", "job"]
    assert [len(json.loads(line)["attempts"]) for line in lines[1:]] == [1, 2, 1]
    assert [(row["job_id"], row["status"]) for row in table][-1] == ("check", "failed")
    assert [suite.get("id") for suite in suites] == ["2", "1"]
    assert suites[1].find("testcase[@name='flaky']/flakyFailure") is not None


def test_a_report_is_markdown_or_a_page(drawbar: Command) -> None:
    text = drawbar.run("report", "2").stdout
    drawbar.run("report", "2", "-o", "two.html")
    page = (drawbar.folder / "two.html").read_text()

    assert text.startswith("# ✘ release: run 2 failed")
    assert page.startswith("<!doctype html>")
    assert "<svg" in page
    assert [path.name for path in drawbar.folder.glob(".*.part")] == []


def test_a_file_that_is_none_is_written_to_and_not_replaced(drawbar: Command) -> None:
    drawbar.write("old.csv", "old")
    (drawbar.folder / "link.csv").symlink_to("old.csv")

    ended = [
        drawbar.run("export", "1", "-o", name).returncode for name in ("/dev/null", "link.csv")
    ]

    assert ended == [0, 0]
    assert Path("/dev/null").is_char_device()
    assert (drawbar.folder / "link.csv").is_symlink()
    assert (drawbar.folder / "old.csv").read_text().startswith("run_id,")


def test_prune_forgets_runs_and_their_files(drawbar: Command) -> None:
    files = drawbar.data / "jobstore" / "files"

    kept = drawbar.run("prune", "--keep", "1h").stdout
    would_go = drawbar.json("prune", "--keep", "0s", "--dry-run")
    still = drawbar.json("runs")
    gone = drawbar.json("prune", "--keep", "0s")

    assert kept.startswith("no run can go: none ended longer than 1h ago")
    assert (would_go["runs"], would_go["jobs"], would_go["dry_run"]) == (2, 6, True)
    assert len(still) == 2
    assert gone == would_go | {"dry_run": False}
    assert drawbar.json("runs") == []
    assert [path for path in files.rglob("*") if path.is_file()] == []
