"""`--dry-run`: what a person reads before anything happens, and that nothing does."""

import re

import pytest

from tests.support.cli import Command

pytestmark = [pytest.mark.system, pytest.mark.slow]

PIPELINE = """
name: release
env: {STAGE: test, DB_PASSWORD: hunter2}
max_workers: 2
retry: {max: 2, delay: 5s}
stages: [build, ship]
jobs:
  - {id: compile, stage: build, command: "sleep 0.2; echo $STAGE"}
  - id: upload
    stage: ship
    command: "echo upload $DB_PASSWORD"
    requires: {gpu: "yes"}
    approve: true
    lock: prod
    pre_checks: [{name: check_file_exists, params: {path: app.bin}}]
    post_checks: [{name: command, params: {command: "true"}}]
  - {id: tell, stage: ship, command: "echo tell", needs: upload, when: always, allow_failure: true}
"""
SIMPLE = """
name: simple
jobs:
  - {id: a, command: "true"}
  - {id: b, command: "test -e mended", needs: a}
  - {id: c, command: "true", needs: b}
"""


@pytest.fixture
def drawbar(tmp_path: object) -> Command:
    return Command(tmp_path)  # type: ignore[arg-type]  # pytest's own type


def test_a_plan_tells_where_when_and_how_each_job_would_run(drawbar: Command) -> None:
    plan = drawbar.run("run", drawbar.write("p.yaml", PIPELINE), "--dry-run").stdout

    assert "release: 3 jobs in 3 layers, at most 2 at a time; nothing is run" in plan
    assert "expected time: unknown (nothing has run here yet)" in plan
    assert "$ sleep 0.2; echo test" in plan
    for said in (
        "on a worker with gpu=yes, which this one is not",
        "after an approval",
        "one at a time with lock prod",
        "2 retries after 5.0 s",
        "check before: check_file_exists path=app.bin",
        "check after: command command=true",
        "in any case; may fail",
    ):
        assert said in plan


def test_a_plan_shows_no_secret_and_stores_nothing(drawbar: Command) -> None:
    file = drawbar.write("p.yaml", PIPELINE)

    told = [drawbar.run("run", file, "-n", *more).stdout for more in ([], ["--json"])]

    assert all("***" in said and "hunter2" not in said for said in told)
    assert not drawbar.data.exists()


def test_a_plan_tells_how_long_it_took_before(drawbar: Command) -> None:
    text = PIPELINE.replace("approve: true", "approve: false").replace('{gpu: "yes"}', "{}")
    file = drawbar.write("p.yaml", re.sub(r"(pre|post)_checks: .*", "", text))
    drawbar.run("run", file)

    plan = drawbar.run("run", file, "--dry-run").stdout
    found = drawbar.json("run", file, "--dry-run")

    assert re.search(r"expected time: \S+ \S+, decided by compile → upload → tell", plan)
    assert re.search(r"^  compile  ~ 0\.[23] s$", plan, re.MULTILINE)
    assert found["critical_path"] == ["compile", "upload", "tell"]
    assert found["estimate_s"] == pytest.approx(
        sum(job["estimate_s"] for layer in found["layers"] for job in layer)
    )
    assert len(drawbar.json("runs")) == 1


def test_a_plan_tells_what_would_be_left_out(drawbar: Command) -> None:
    file = drawbar.write("p.yaml", SIMPLE)
    drawbar.run("run", file)

    skipped = drawbar.run("run", file, "-n", "--skip", "b").stdout
    resumed = drawbar.run("run", file, "-n", "--resume", "1").stdout
    failed_only = drawbar.run("run", file, "-n", "--resume", "1", "--failed-only").stdout

    assert "b  ← a  [skipped, as if it had succeeded]" in skipped
    assert "  a  [carried over from run 1]" in resumed
    assert "[skipped: " not in resumed
    assert "c  ← b  [skipped: it did not fail in run 1]" in failed_only


def test_a_plan_to_resume_what_does_not_exist_is_one_line(drawbar: Command) -> None:
    file = drawbar.write("p.yaml", SIMPLE)

    done = drawbar.run("run", file, "-n", "--resume", "7")

    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "drawbar: there is no run 7\n"


def test_a_plan_for_a_service_needs_no_service(drawbar: Command) -> None:
    file = drawbar.write("p.yaml", PIPELINE)

    done = drawbar.run("submit", file, "--dry-run", "--server", "http://127.0.0.1:1")

    assert done.returncode == 0
    assert "expected time: unknown (cannot reach the job service" in done.stdout
    assert "on a worker with gpu=yes;" in done.stdout
