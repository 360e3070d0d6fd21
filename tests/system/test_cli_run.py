"""`drawbar run` as a person meets it: exit codes, lines, JSON, Ctrl-C, and other runs."""

import json
import platform
import re
import signal
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.cli import LONG_S, Command, Terminal, is_alive

pytestmark = [pytest.mark.system, pytest.mark.slow]

GOOD = "name: good\njobs: [{id: a, command: echo hello}]\n"
BAD = (
    "name: bad\njobs: [{id: a, command: 'echo oops; exit 3'}, {id: b, command: 'true', needs: a}]\n"
)
LONG = "name: long\njobs: [{id: a, command: 'echo $$ > pid; touch begun; sleep 60'}]\n"


@pytest.fixture
def drawbar(tmp_path: Path) -> Command:
    return Command(tmp_path)


@pytest.fixture
def long_run(drawbar: Command) -> Iterator[Terminal]:
    """A run of one long job, on a terminal that shows it running."""
    with drawbar.on_terminal("run", drawbar.write("long.yaml", LONG)) as terminal:
        terminal.until("● a")
        yield terminal


def test_success_is_told_in_lines_and_exit_code_0(drawbar: Command) -> None:
    done = drawbar.run("run", drawbar.write("p.yaml", GOOD))

    assert done.returncode == 0
    assert re.search(r"^\d\d:\d\d:\d\d  a  started$", done.stdout, re.MULTILINE)
    assert re.search(r"^\d\d:\d\d:\d\d  a  success in ", done.stdout, re.MULTILINE)
    assert re.search(r"^✔ good  run 1  success in ", done.stdout, re.MULTILINE)
    assert done.stderr == ""


def test_failure_is_told_with_the_last_lines_of_the_log_and_exit_code_1(drawbar: Command) -> None:
    done = drawbar.run("run", drawbar.write("p.yaml", BAD))

    assert done.returncode == 1
    assert "a: the last lines of its log\n    oops\n" in done.stdout
    assert re.search(r"^a +✘ failed +3 +1 ", done.stdout, re.MULTILINE)
    assert re.search(r"^b +· skipped .*a dependency did not succeed", done.stdout, re.MULTILINE)


def test_colours_and_pictures_are_for_terminals_only(drawbar: Command) -> None:
    file = drawbar.write("p.yaml", BAD)

    piped = drawbar.run("run", file).stdout
    with drawbar.on_terminal("run", file) as terminal:
        code = terminal.end()

    assert "\x1b" not in piped
    assert code == 1
    assert "✘ a  failed" in terminal.seen
    assert "✘ bad  run 2  failed" in terminal.seen


def test_json_is_one_object_of_the_promised_shape(drawbar: Command) -> None:
    done = drawbar.run("run", drawbar.write("p.yaml", BAD), "--json")

    run = json.loads(done.stdout)
    assert done.returncode == 1
    assert list(run) == [
        "run_id",
        "name",
        "status",
        "exit_code",
        "started_at",
        "ended_at",
        "counts",
        "jobs",
    ]
    assert (run["run_id"], run["name"], run["status"], run["exit_code"]) == (1, "bad", "failed", 1)
    assert run["counts"] == {"failed": 1, "skipped": 1}
    a, b = run["jobs"]
    assert list(a) == [
        "id",
        "stage",
        "status",
        "exit_code",
        "reason",
        "tries",
        "attempts",
        "started_at",
        "ended_at",
    ]
    assert (a["exit_code"], a["tries"], a["attempts"], a["reason"]["what"]) == (
        3,
        1,
        1,
        "exit_code",
    )
    assert (b["exit_code"], b["tries"], b["attempts"], b["started_at"]) == (None, 0, 0, None)


def test_every_mistake_of_a_document_is_told_and_nothing_is_stored(drawbar: Command) -> None:
    file = drawbar.write(
        "p.yaml", "name: p\njobs:\n  - {id: a, comand: 'true'}\n  - {id: a, command: x}\n"
    )

    done = drawbar.run("run", file)

    assert (done.returncode, done.stdout) == (2, "")
    assert "p.yaml:3: unknown field 'comand' (did you mean 'command'?)" in done.stderr
    assert "p.yaml:4: job id 'a' is used twice" in done.stderr
    assert not drawbar.data.exists()


@pytest.mark.parametrize(
    "words",
    [
        ["run"],
        ["run", "--wrokers", "2"],
        ["rnu"],
        ["run", "p.yaml", "--workers", "0"],
        ["show", "x"],
    ],
)
def test_wrong_usage_is_exit_code_2(drawbar: Command, words: list[str]) -> None:
    done = drawbar.run(*words)

    assert (done.returncode, done.stdout) == (2, "")
    assert "Traceback" not in done.stderr


def test_a_dry_run_prints_order_and_commands_and_runs_nothing(drawbar: Command) -> None:
    file = drawbar.write(
        "p.yaml", "jobs: [{id: b, command: touch b, needs: a}, {id: a, command: touch a}]\n"
    )

    done = drawbar.run("run", file, "--dry-run")

    assert done.returncode == 0
    assert done.stdout.index("touch a") < done.stdout.index("b  ← a") < done.stdout.index("touch b")
    assert not (drawbar.folder / "a").exists()
    assert not drawbar.data.exists()


def test_variables_of_the_command_line_reach_the_job_and_tokens_do_not(drawbar: Command) -> None:
    file = drawbar.write(
        "p.yaml",
        "env: {A: document}\njobs: [{id: a, command: 'echo $A $B ${DRAWBAR_TOKEN:-none}'}]\n",
    )

    drawbar.run("run", file, "--env", "A=command", B="shell", DRAWBAR_TOKEN="hunter2")

    assert drawbar.run("logs", "1", "a").stdout == "command shell none\n"


def test_what_was_run_can_be_looked_at_without_a_service(drawbar: Command) -> None:
    drawbar.run("run", drawbar.write("p.yaml", BAD))

    assert "bad" in drawbar.run("runs").stdout
    assert drawbar.json("show", "1")["status"] == "failed"
    assert drawbar.run("logs", "1", "a").stdout == "oops\n"
    assert "job.failed" in drawbar.run("events", "1").stdout
    missing = drawbar.run("show", "9")
    assert (missing.returncode, missing.stderr) == (1, "drawbar: there is no run 9\n")


def test_the_first_ctrl_c_cancels_and_still_sums_up(long_run: Terminal) -> None:
    long_run.press_ctrl_c()

    code = long_run.end()

    assert code == 130
    assert re.search(r"a +■ cancelled", long_run.seen)
    assert "long  run 1  cancelled in " in long_run.seen
    assert "Traceback" not in long_run.seen


def test_the_second_ctrl_c_kills(drawbar: Command) -> None:
    stubborn = LONG.replace("'echo", "\"trap '' TERM; echo").replace("60'", '60"')
    with drawbar.on_terminal("run", drawbar.write("long.yaml", stubborn)) as terminal:
        terminal.until("● a")
        _wait_for(drawbar.folder / "begun")
        terminal.press_ctrl_c()
        terminal.until("Ctrl-C again kills")
        terminal.press_ctrl_c()
        code = terminal.end()

    pid = int((drawbar.folder / "pid").read_text())
    assert code == 130
    assert "killed before the run had ended; go on with: drawbar run " in terminal.seen
    assert not is_alive(pid)
    assert drawbar.json("show", "1")["status"] == "cancelled"


def test_a_run_that_was_killed_hard_is_over_at_the_next_one(drawbar: Command) -> None:
    process = drawbar.start("run", drawbar.write("long.yaml", LONG))
    _wait_for(drawbar.folder / "begun")
    process.send_signal(signal.SIGKILL)
    process.communicate()

    done = drawbar.run("run", drawbar.write("p.yaml", GOOD))

    pid = int((drawbar.folder / "pid").read_text())
    assert done.returncode == 0
    assert not is_alive(pid)
    assert drawbar.json("show", "1")["status"] == "cancelled"


def test_a_second_run_waits_for_the_first_and_says_so(drawbar: Command, long_run: Terminal) -> None:
    with drawbar.on_terminal("run", drawbar.write("p.yaml", GOOD)) as second:
        second.until("waiting for another 'drawbar run' (process ")
        long_run.press_ctrl_c()
        long_run.end()
        code = second.end()

    assert code == 0
    assert "good  run 2  success" in second.seen


def test_who_does_not_want_to_wait_presses_ctrl_c(drawbar: Command, long_run: Terminal) -> None:
    with drawbar.on_terminal("run", drawbar.write("p.yaml", GOOD)) as second:
        second.until("waiting for another")
        second.press_ctrl_c()
        code = second.end()

    assert code == 130
    assert "nothing was run" in second.seen


def test_a_data_directory_that_cannot_be_one_is_named(drawbar: Command) -> None:
    file = drawbar.write("p.yaml", GOOD)

    done = drawbar.run("run", file, "--data", file)

    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert str(file) in done.stderr


def test_a_job_that_this_worker_cannot_run_is_refused_before_anything_is_stored(
    drawbar: Command,
) -> None:
    file = drawbar.write("p.yaml", "jobs: [{id: a, command: 'true', requires: {gpu: 'yes'}}]\n")

    refused = drawbar.run("run", file)

    assert (refused.returncode, refused.stdout) == (2, "")
    assert "job 'a' requires gpu=yes, and this worker has arch=" in refused.stderr
    assert "give --label gpu=yes, or use --server" in refused.stderr
    assert not drawbar.data.exists()
    assert drawbar.run("run", file, "--label", "gpu=yes").returncode == 0


def test_a_worker_knows_the_system_that_it_runs_on(drawbar: Command) -> None:
    system = platform.system().lower()
    file = drawbar.write(
        "p.yaml", f"jobs: [{{id: a, command: 'true', requires: {{os: {system}}}}}]\n"
    )

    assert drawbar.run("run", file).returncode == 0


@pytest.mark.parametrize("damage", ["newer", "corrupt"])
def test_a_database_that_cannot_be_used_is_one_clear_line(drawbar: Command, damage: str) -> None:
    file = drawbar.write("p.yaml", GOOD)
    drawbar.run("run", file)
    database = drawbar.data / "jobstore" / "jobs.db"
    if damage == "newer":
        with sqlite3.connect(database) as conn:
            conn.execute("PRAGMA user_version = 999")
        conn.close()
    else:
        for name in ("jobs.db-wal", "jobs.db-shm"):
            (database.parent / name).unlink(missing_ok=True)
        database.write_bytes(b"not a database at all" * 1_000)

    done = drawbar.run("run", file)

    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "jobs.db" in done.stderr


def test_a_reader_that_goes_away_gets_no_traceback(drawbar: Command) -> None:
    process = drawbar.start("run", drawbar.write("p.yaml", GOOD))
    assert process.stdout is not None
    process.stdout.close()

    assert process.stderr is not None
    said = process.stderr.read()
    process.wait()
    process.stderr.close()

    assert "Traceback" not in said
    assert "BrokenPipe" not in said


def _wait_for(path: Path) -> None:
    """The job has come so far."""
    deadline = time.monotonic() + LONG_S
    while not path.exists():
        assert time.monotonic() < deadline, f"{path} never came"
        time.sleep(0.01)
