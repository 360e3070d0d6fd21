"""What a person decides while a run waits or after it has ended: approve, mark, skip, resume."""

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.cli import LONG_S, Command, Terminal

pytestmark = [pytest.mark.system, pytest.mark.slow]

GATE = """
name: gate
jobs:
  - {id: build, command: "true"}
  - {id: deploy, command: "echo deployed", needs: build, approve: true}
  - {id: after, command: "true", needs: deploy}
"""
FLOW = """
name: flow
jobs:
  - {id: a, command: "true"}
  - {id: b, command: "test -e mended", needs: a}
  - {id: c, command: "true", needs: b}
  - {id: d, command: "true", needs: c}
"""


@pytest.fixture
def drawbar(tmp_path: Path) -> Command:
    return Command(tmp_path)


@pytest.fixture
def held(drawbar: Command) -> Iterator[Terminal]:
    """A run on a terminal that waits for approval."""
    with drawbar.on_terminal("run", drawbar.write("gate.yaml", GATE)) as terminal:
        terminal.until("waits for approval: drawbar approve 1 deploy")
        yield terminal


def statuses(drawbar: Command, run: int) -> dict[str, str]:
    return {job["id"]: job["status"] for job in drawbar.json("show", str(run))["jobs"]}


def test_a_job_that_waits_tells_the_command_that_lets_it_go_on(
    drawbar: Command, held: Terminal
) -> None:
    approved = drawbar.run("approve", "1", "deploy", "--reason", "seen")
    code = held.end()

    assert (approved.returncode, code) == (0, 0)
    assert approved.stdout == "job deploy of run 1 is approved, and goes on\n"
    assert drawbar.run("logs", "1", "deploy").stdout == "deployed\n"


def test_a_run_can_be_looked_at_from_another_terminal_while_it_goes_on(
    drawbar: Command, held: Terminal
) -> None:
    assert statuses(drawbar, 1) == {"build": "success", "deploy": "held", "after": "blocked"}
    assert re.search(r"1 +gate +● running", drawbar.run("runs").stdout)
    assert drawbar.run("logs", "1", "build").returncode == 0
    assert "job.held" in drawbar.run("events", "1").stdout

    drawbar.run("approve", "1", "deploy")

    assert held.end() == 0
    assert statuses(drawbar, 1) == {"build": "success", "deploy": "success", "after": "success"}


def test_a_run_can_be_followed_from_another_terminal_to_its_end(
    drawbar: Command, held: Terminal
) -> None:
    with drawbar.on_terminal("show", "1", "--follow") as other:
        other.until("waits for approval: drawbar approve 1 deploy")
        drawbar.run("approve", "1", "deploy")

        assert (held.end(), other.end()) == (0, 0), other.seen
    assert "gate  run 1  success in " in other.seen


def test_a_refused_job_is_cancelled_and_what_needs_it_is_skipped(
    drawbar: Command, held: Terminal
) -> None:
    refused = drawbar.json("approve", "1", "deploy", "--refuse", "--reason", "not today")
    code = held.end()

    assert refused == {"run_id": 1, "job_id": "deploy", "approved": False}
    assert code == 1
    assert statuses(drawbar, 1) == {"build": "success", "deploy": "cancelled", "after": "skipped"}
    assert re.search(r"deploy +■ cancelled .*not today", held.seen)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["approve", "1", "build"], "job 'build' does not wait for approval: it is success"),
        (["approve", "1", "nope"], "run 1 has no job 'nope'"),
        (["approve", "2", "deploy"], "there is no run 2"),
        (["mark", "1", "nope", "success"], "run 1 has no job 'nope'"),
    ],
)
def test_a_decision_about_something_else_is_one_line_and_changes_nothing(
    drawbar: Command, held: Terminal, words: list[str], said: str
) -> None:
    done = drawbar.run(*words)

    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"drawbar: {said}\n"
    held.press_ctrl_c()
    assert held.end() == 130


def test_a_waiting_job_can_be_marked_and_the_rest_goes_on(drawbar: Command, held: Terminal) -> None:
    drawbar.run("mark", "1", "deploy", "success", "--reason", "done by hand")

    assert held.end() == 0
    assert statuses(drawbar, 1) == {"build": "success", "deploy": "success", "after": "success"}
    assert "done by hand" in held.seen


def test_a_run_that_waits_can_be_cancelled_from_another_terminal(
    drawbar: Command, held: Terminal
) -> None:
    done = drawbar.run("cancel", "1")

    assert done.stdout == "run 1 is cancelled; what still runs was told to stop\n"
    assert held.end() == 1
    assert "■ cancelled" in held.seen


def test_ctrl_c_while_a_job_waits_for_approval_still_sums_up(
    drawbar: Command, held: Terminal
) -> None:
    held.press_ctrl_c()

    assert held.end() == 130
    assert re.search(r"build +✔ success", held.seen)
    assert re.search(r"deploy +■ cancelled", held.seen)
    assert "go on where it ended with: drawbar run" in held.seen


def test_lines_tell_of_approval_too(drawbar: Command) -> None:
    process = drawbar.start("run", drawbar.write("gate.yaml", GATE))
    assert process.stdout is not None
    for line in process.stdout:
        if "waits for approval: drawbar approve 1 deploy" in line:
            break
    drawbar.run("approve", "1", "deploy")

    process.communicate(timeout=LONG_S)
    assert process.returncode == 0


def test_a_mark_lets_a_resumed_run_pass(drawbar: Command) -> None:
    file = drawbar.write("p.yaml", FLOW)
    drawbar.run("run", file)

    marked = drawbar.run("mark", "1", "b", "success", "--reason", "by hand")
    shown = drawbar.run("show", "1")
    resumed = drawbar.run("run", file, "--resume", "1")

    assert marked.stdout == "job b of run 1 counts as a success from now on\n"
    assert "run 1  failed" in shown.stdout
    assert "the rest was not run: drawbar run FILE --resume 1 runs it" in shown.stdout
    assert resumed.returncode == 0
    assert "b  success, carried over" in resumed.stdout
    assert statuses(drawbar, 2) == dict.fromkeys("abcd", "success")


def test_a_resumed_run_runs_what_failed_and_what_never_started(drawbar: Command) -> None:
    file = drawbar.write("p.yaml", FLOW)
    first = drawbar.run("run", file)
    (drawbar.folder / "mended").touch()

    again = drawbar.run("run", file, "--resume", "1")

    assert first.returncode == 1
    assert f"go on where it ended with: drawbar run {file} --resume 1" in first.stdout
    assert again.returncode == 0
    assert "a  success, carried over" in again.stdout
    jobs = {job["id"]: job["attempts"] for job in drawbar.json("show", "2")["jobs"]}
    assert jobs == {"a": 0, "b": 1, "c": 1, "d": 1}


def test_failed_only_leaves_out_what_never_started(drawbar: Command) -> None:
    file = drawbar.write("p.yaml", FLOW)
    drawbar.run("run", file)
    (drawbar.folder / "mended").touch()

    drawbar.run("run", file, "--resume", "1", "--failed-only")

    assert statuses(drawbar, 2) == {"a": "success", "b": "success", "c": "skipped", "d": "skipped"}


def test_a_skipped_job_holds_nothing_up(drawbar: Command) -> None:
    done = drawbar.run("run", drawbar.write("p.yaml", FLOW), "--skip", "b")

    assert done.returncode == 0
    assert statuses(drawbar, 1) == {"a": "success", "b": "skipped", "c": "success", "d": "success"}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--skip", "bb"], "--skip bb: the pipeline has no such job (did you mean 'b'?)"),
        (["--failed-only"], "--failed-only needs --resume RUN"),
        (["--continue-on-error", "--fail-fast"], "contradict each other"),
        (["--sequential", "--parallel"], "contradict each other"),
        (["--param", "x"], "--param takes NAME=VALUE, found 'x'"),
        (["--env", "1=x"], "--env 1"),
    ],
)
def test_wishes_that_make_no_sense_are_exit_code_2_and_run_nothing(
    drawbar: Command, words: list[str], said: str
) -> None:
    done = drawbar.run("run", drawbar.write("p.yaml", FLOW), *words)

    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr
    assert not drawbar.data.exists()


def test_resuming_a_run_that_does_not_exist_is_one_line(drawbar: Command) -> None:
    done = drawbar.run("run", drawbar.write("p.yaml", FLOW), "--resume", "9")

    assert (done.returncode, done.stderr) == (1, "drawbar: there is no run 9\n")


@pytest.mark.parametrize(
    ("flag", "slow"), [("--continue-on-error", "success"), ("--fail-fast", "cancelled")]
)
def test_the_command_line_says_what_a_failure_means(drawbar: Command, flag: str, slow: str) -> None:
    file = drawbar.write(
        "p.yaml",
        "jobs:\n  - {id: bad, command: 'sleep 0.2; exit 1'}\n  - {id: slow, command: sleep 1}\n",
    )

    done = drawbar.run("run", file, flag)

    assert done.returncode == 1
    assert statuses(drawbar, 1) == {"bad": "failed", "slow": slow}
    assert ("everything else is cancelled" in done.stdout) == (flag == "--fail-fast")


def test_sequential_and_workers_limit_what_runs_at_a_time(drawbar: Command) -> None:
    command = "mkdir running && sleep 0.1 && rmdir running"  # fails when another one runs
    jobs = ", ".join(f"{{id: j{n}, command: '{command}'}}" for n in range(4))
    file = drawbar.write("p.yaml", f"jobs: [{jobs}]\n")

    assert drawbar.run("run", file, "--sequential").returncode == 0
    assert drawbar.run("run", file, "--workers", "1").returncode == 0
    assert drawbar.run("run", file, "--parallel").returncode == 1


def test_a_retry_is_counted_down_on_a_terminal(drawbar: Command) -> None:
    file = drawbar.write(
        "p.yaml",
        "jobs: [{id: a, command: 'test -e mended || { touch mended; exit 1; }', "
        "retry: {max: 1, delay: 1s, jitter: 0}}]\n",
    )
    with drawbar.on_terminal("run", file) as terminal:
        terminal.until("↻ a")
        terminal.until("try 2 in")
        code = terminal.end()

    assert code == 0
    assert re.search(r"try 2 in 0\.\d s", terminal.seen)


def test_what_a_job_is_about_is_shown_on_a_terminal(drawbar: Command) -> None:
    wait = "until [ -e {0} ]; do sleep 0.05; done; rm {0}"
    checks = {
        f"{when}_checks": f"[{{name: check_command, params: {{command: '{wait.format(when)}'}}}}]"
        for when in ("pre", "post")
    }
    file = drawbar.write(
        "p.yaml",
        "jobs:\n  - id: a\n    command: 'true'\n"
        + "".join(f"    {name}: {value}\n" for name, value in checks.items()),
    )
    with drawbar.on_terminal("run", file) as terminal:
        for when in ("pre", "post"):
            terminal.until(f"{when}-checks")
            (drawbar.folder / when).touch()
        code = terminal.end()

    assert code == 0


def test_a_check_that_fails_is_told_with_its_words(drawbar: Command) -> None:
    file = drawbar.write(
        "p.yaml",
        "jobs: [{id: a, command: 'true', post_checks: [{name: check_file_exists, "
        "params: {path: made.txt}}]}]\n",
    )

    done = drawbar.run("run", file)

    assert done.returncode == 1
    assert "a  postcheck_failed in " in done.stdout
    assert re.search(r"^a +✘ postcheck_failed +0 +1 .*made\.txt", done.stdout, re.MULTILINE)


def test_what_is_doubtful_in_a_document_is_said_before_it_runs(drawbar: Command) -> None:
    file = drawbar.write(
        "p.yaml",
        "jobs: [{id: a, command: 'true', pre_checks: [{name: check_file_exists, "
        "params: {pth: x}}]}]\n",
    )

    done = drawbar.run("run", file, "--dry-run")

    assert done.returncode == 0
    assert f"note: {file}:1: " in done.stderr
    assert "'path'" in done.stderr


def test_a_parameter_reaches_the_command(drawbar: Command) -> None:
    file = drawbar.write(
        "p.yaml",
        "params: {who: {type: string, default: nobody}}\n"
        "jobs: [{id: a, command: 'echo ${{ params.who }}'}]\n",
    )

    drawbar.run("run", file, "--param", "who=ada")

    assert drawbar.run("logs", "1", "a").stdout == "ada\n"


def test_old_command_lines_run_as_they_are(drawbar: Command) -> None:
    sample = drawbar.run("executioner", "--sample-config").stdout
    drawbar.write("jobs_config.json", sample)

    ran = drawbar.run("executioner", "--parallel", "--workers", "2", "--env", "STAGE=prod")
    listed = drawbar.run("executioner", "--list-runs", "data_pipeline")
    shown = drawbar.run("executioner", "--show-run", "1")
    marked = drawbar.run("executioner", "--mark-success", "-r", "1", "-j", "nope")

    assert (ran.returncode, listed.returncode, shown.returncode) == (0, 0, 0)
    assert "data_pipeline  run 1  success" in shown.stdout
    assert "data_pipeline" in listed.stdout
    assert (marked.returncode, marked.stderr) == (1, "drawbar: run 1 has no job 'nope'\n")


def test_a_socket_of_a_run_that_was_killed_does_no_harm(drawbar: Command) -> None:
    process = drawbar.start("run", drawbar.write("gate.yaml", GATE))
    assert process.stdout is not None
    next(line for line in process.stdout if "waits for approval" in line)
    process.kill()
    process.communicate()

    after = drawbar.run("approve", "1", "deploy")
    again = drawbar.run("run", drawbar.write("p.yaml", "jobs: [{id: a, command: 'true'}]\n"))

    assert isinstance(after, subprocess.CompletedProcess)
    assert "Traceback" not in after.stderr
    assert again.returncode == 0
