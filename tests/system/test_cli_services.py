"""The commands that talk to services, against a real `drawbar up` and real daemons."""

import hashlib
import json
import re
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.cli import LONG_S, Command

pytestmark = [pytest.mark.system, pytest.mark.slow]

PIPELINE = """
name: release
jobs:
  - {id: build, command: "mkdir dist; echo 42 > dist/app; echo built", artifacts: [dist/*]}
  - {id: check, command: "echo wrong; exit 4", needs: build}
"""
LONG = "name: long\njobs: [{id: a, command: 'echo begun; sleep 60'}]\n"


class Up:
    """`drawbar up` on free ports, and commands that know where it is."""

    def __init__(self, folder: Path, log_level: str) -> None:
        """With `info`, somebody has to read what it says: a full pipe would hold it up."""
        self.command = Command(folder)
        self.process = self.command.start(
            "up", "--port-base", "0", "--slots", "2", DRAWBAR_LOG_LEVEL=log_level
        )
        self.said = self.read_until("submit with")
        self.at = dict(re.findall(r"^(gateway|registry|job service) +(http\S+)$", self.said, re.M))
        self.command.env |= {
            "DRAWBAR_GATEWAY_URL": self.at["gateway"],
            "DRAWBAR_REGISTRY_URL": self.at["registry"],
            "DRAWBAR_JOBSTORE_URL": self.at["job service"],
        }

    def read_until(self, text: str) -> str:
        assert self.process.stderr is not None
        said = ""
        for line in self.process.stderr:
            said += line
            if text in line:
                return said
        raise AssertionError(said)

    def end(self, *signals: signal.Signals) -> tuple[int, str]:
        for number in signals:
            self.process.send_signal(number)
        _, said = self.process.communicate(timeout=LONG_S)
        return self.process.returncode, said

    def submit(self, text: str) -> str:
        run_id = self.command.json("submit", self.command.write("p.yaml", text))["run_id"]
        return str(run_id)

    def submit_and_wait(self, text: str) -> str:
        run_id = self.submit(text)
        self.command.run("show", run_id, "-f")
        return run_id


@pytest.fixture(scope="module")
def shared_up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    """One for all tests that leave it as they found it."""
    up = Up(tmp_path_factory.mktemp("up"), "warning")
    yield up
    up.end(signal.SIGTERM, signal.SIGTERM)


@pytest.fixture
def drawbar(shared_up: Up) -> Command:
    return shared_up.command


@pytest.fixture
def up(tmp_path: Path) -> Iterator[Up]:
    up = Up(tmp_path, "info")
    yield up
    if up.process.poll() is None:
        up.process.kill()
        up.process.communicate()


@pytest.fixture(scope="module")
def run_id(shared_up: Up) -> str:
    """A run of PIPELINE that has ended."""
    return shared_up.submit_and_wait(PIPELINE)


def test_show_tells_the_same_as_run_would(drawbar: Command, run_id: str) -> None:
    shown = drawbar.json("show", run_id)

    assert (shown["name"], shown["status"], shown["exit_code"]) == ("release", "failed", 1)
    assert [job["exit_code"] for job in shown["jobs"]] == [0, 4]
    assert re.search(r"^check +✘ failed +4 ", drawbar.run("show", run_id).stdout, re.MULTILINE)


def test_following_a_run_ends_with_its_exit_code(shared_up: Up, run_id: str) -> None:
    good = shared_up.submit("jobs: [{id: a, command: 'true'}]\n")

    codes = [shared_up.command.run("show", run, "-f").returncode for run in (good, run_id)]

    assert codes == [0, 1]


def test_run_on_a_server_is_shown_like_one_in_this_process(shared_up: Up) -> None:
    file = shared_up.command.write("s.yaml", PIPELINE)

    done = shared_up.command.run("run", file, "--server", shared_up.at["job service"])

    assert done.returncode == 1
    assert re.search(r"^\d\d:\d\d:\d\d  build  success in ", done.stdout, re.MULTILINE)
    assert "check: the last lines of its log\n    wrong\n" in done.stdout


def test_runs_are_listed_newest_first(drawbar: Command, run_id: str) -> None:
    listed = drawbar.json("runs")

    assert [run["run_id"] for run in listed] == sorted((r["run_id"] for r in listed), reverse=True)
    assert int(run_id) in [run["run_id"] for run in listed]
    assert drawbar.run("runs").stdout.startswith("RUN")


def test_logs_are_the_bytes_that_the_job_wrote(drawbar: Command, run_id: str) -> None:
    assert drawbar.run("logs", run_id, "check").stdout == "wrong\n"
    assert drawbar.run("logs", run_id, "check", "-f").stdout == "wrong\n"


def test_events_are_one_object_a_line_in_order(drawbar: Command, run_id: str) -> None:
    lines = drawbar.run("events", run_id, "--json").stdout.splitlines()

    events = [json.loads(line) for line in lines]
    assert [e["seq"] for e in events] == sorted(e["seq"] for e in events)
    assert (events[0]["kind"], events[-1]["kind"]) == ("run.submitted", "run.failed")
    assert drawbar.run("events", run_id, "-f").stdout.count("\n") == len(events)


def test_artifacts_are_listed_and_fetched_whole(drawbar: Command, run_id: str) -> None:
    (listed,) = drawbar.json("artifacts", run_id)
    got = drawbar.run("artifacts", run_id, "--get", "dist/app")
    drawbar.run("artifacts", run_id, "build", "--to", "here")
    drawbar.run("artifacts", run_id, "--to", "all")

    assert listed["artifact"]["sha256"] == hashlib.sha256(b"42\n").hexdigest()
    assert got.stdout == "42\n"
    assert (drawbar.folder / "here/dist/app").read_text() == "42\n"
    assert (drawbar.folder / "all/build/dist/app").read_text() == "42\n"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["show", "999"], "there is no run 999"),
        (["cancel", "999"], "there is no run 999"),
        (["cancel", "999", "a"], "there is no run 999"),
        (["cancel", "RUN", "nope"], "run RUN has no job 'nope'"),
        (["logs", "RUN", "nope"], "run RUN has no job 'nope'"),
        (["artifacts", "RUN", "--get", "nope"], "there is no artifact 'nope'"),
        (["worker-drain", "nobody", "--reason", "x"], "nobody"),
    ],
)
def test_what_does_not_exist_is_one_line_and_exit_code_1(
    drawbar: Command, run_id: str, words: list[str], said: str
) -> None:
    done = drawbar.run(*(word.replace("RUN", run_id) for word in words))

    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.count("\n") == 1
    assert said.replace("RUN", run_id) in done.stderr


def test_cancel_ends_a_run_that_runs(shared_up: Up) -> None:
    run_id = shared_up.submit(LONG)

    shared_up.command.run("cancel", run_id, "--reason", "enough")
    shared_up.command.run("show", run_id, "-f")

    assert shared_up.command.json("show", run_id)["status"] == "cancelled"


def test_cancelling_what_has_ended_says_how_it_ended(
    shared_up: Up, drawbar: Command, run_id: str
) -> None:
    cancelled = shared_up.submit(LONG)
    drawbar.run("cancel", cancelled)
    drawbar.run("show", cancelled, "-f")

    said = [
        drawbar.run("cancel", *words)
        for words in ([run_id], [run_id, "check"], [cancelled], [cancelled, "a"])
    ]

    assert [done.returncode for done in said] == [0, 0, 0, 0]
    assert [done.stdout for done in said] == [
        f"run {run_id} has already ended: failed\n",
        f"job check of run {run_id} has already ended: failed\n",
        f"run {cancelled} has already ended: cancelled\n",
        f"job a of run {cancelled} has already ended: cancelled\n",
    ]
    assert drawbar.json("cancel", run_id)["cancelled"] is False


def test_retry_carries_successes_over(shared_up: Up, run_id: str) -> None:
    again = str(shared_up.command.json("retry", run_id, "--failed-only")["run_id"])
    shared_up.command.run("show", again, "-f")

    build, check = shared_up.command.json("show", again)["jobs"]
    assert (build["status"], build["attempts"]) == ("success", 0)
    assert (check["status"], check["attempts"]) == ("failed", 1)


def test_a_worker_can_be_paused_and_resumed(shared_up: Up) -> None:
    (worker,) = shared_up.command.json("workers")
    name = worker["name"]

    paused = shared_up.command.json("worker-pause", name, "--reason", "a look")
    listed = shared_up.command.run("workers").stdout
    resumed = shared_up.command.json("worker-resume", name)

    assert (paused["desired"], paused["reason"], resumed["desired"]) == ("pause", "a look", "run")
    assert re.search(r"pause by \S+ at .*: a look$", listed, re.MULTILINE)


def test_a_token_opens_what_its_role_may_and_no_more(drawbar: Command, run_id: str) -> None:
    viewer = drawbar.run("token", "--role", "viewer").stdout.strip()

    may = drawbar.run("show", run_id, DRAWBAR_TOKEN=viewer)
    may_not = drawbar.run("cancel", run_id, DRAWBAR_TOKEN=viewer)

    assert may.returncode == 0
    assert may_not.returncode == 1
    assert "viewer" in may_not.stderr
    assert viewer not in may_not.stderr


def test_a_wrong_token_is_one_line_that_says_what_to_do(drawbar: Command) -> None:
    done = drawbar.run("runs", DRAWBAR_TOKEN="nonsense")

    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "DRAWBAR_TOKEN" in done.stderr


def test_a_service_that_is_not_there_is_one_line_that_says_what_to_do(drawbar: Command) -> None:
    done = drawbar.run("runs", "--server", "http://127.0.0.1:1")

    assert done.returncode == 1
    assert done.stderr == (
        "drawbar: cannot reach the job service at http://127.0.0.1:1: is it running? "
        "start it with 'drawbar up'\n"
    )


def test_up_says_how_to_submit_to_it(shared_up: Up, drawbar: Command) -> None:
    at, data = shared_up.at["job service"], drawbar.data

    assert f"submit with: drawbar submit FILE --server {at} --data {data} (" in shared_up.said


def test_a_job_that_never_started_has_no_log_and_says_so(shared_up: Up, drawbar: Command) -> None:
    run_id = shared_up.submit_and_wait(
        "jobs: [{id: a, command: 'false'}, {id: c, command: 'true', needs: a}]\n"
    )

    never = drawbar.run("logs", run_id, "c")
    unknown = drawbar.run("logs", run_id, "a", "--attempt", "foo")

    assert (never.returncode, never.stdout) == (0, "")
    assert never.stderr == "drawbar: job c never started: skipped\n"
    assert (unknown.returncode, unknown.stdout) == (1, "")
    assert unknown.stderr == "drawbar: there is no attempt foo of job a\n"


def test_another_kind_of_service_is_told_apart(shared_up: Up, drawbar: Command) -> None:
    done = drawbar.run("runs", "--server", shared_up.at["registry"])

    assert done.returncode == 1
    assert done.stderr == f"drawbar: {shared_up.at['registry']} is not a job service\n"


def test_a_server_without_a_scheme_is_a_usage_error(drawbar: Command) -> None:
    done = drawbar.run("runs", "--server", "127.0.0.1:7402")

    assert done.returncode == 2
    assert "--server takes a URL, for example http://" in done.stderr


def test_a_run_in_a_directory_that_is_served_is_told_where_to_go(drawbar: Command) -> None:
    done = drawbar.run("run", drawbar.write("p.yaml", PIPELINE))

    assert (done.returncode, done.stdout) == (1, "")
    assert "drawbar submit FILE" in done.stderr
    assert "--server URL" in done.stderr


def test_a_port_in_use_is_one_clear_line(shared_up: Up, tmp_path: Path) -> None:
    address = shared_up.at["registry"].removeprefix("http://")

    done = Command(tmp_path).run("registry", "--listen", address)

    assert done.returncode == 1
    assert f"drawbar: cannot listen on {address}" in done.stderr
    assert "Traceback" not in done.stderr


def test_up_drains_on_the_first_signal(up: Up) -> None:
    run_id = up.submit("jobs: [{id: a, command: 'echo begun; sleep 0.5; echo whole'}]\n")
    _until_begun(up, run_id)

    code, said = up.end(signal.SIGTERM)
    after = up.command.run("logs", run_id, "a", DRAWBAR_JOBSTORE_URL="")

    assert (code, "Traceback" in said) == (0, False)
    assert after.stdout == "begun\nwhole\n"


def test_up_stops_hard_on_the_second_signal(up: Up) -> None:
    run_id = up.submit(LONG)
    _until_begun(up, run_id)

    up.process.send_signal(signal.SIGINT)
    up.read_until("waiting for 1 running job to end; Ctrl-C again stops now")
    code, said = up.end(signal.SIGINT)

    assert (code, "Traceback" in said) == (1, False)


def test_a_further_worker_joins_and_takes_jobs_with_its_labels(up: Up) -> None:
    worker = up.command.start(
        "worker", "--name", "second", "--label", "gpu=yes", "--slots", "1", "--data", "elsewhere",
        DRAWBAR_ENROLMENT_SECRET_FILE=str(up.command.data / "keys/enrolment.secret"),
    )  # fmt: skip
    try:
        run_id = up.submit_and_wait("jobs: [{id: a, command: 'true', requires: {gpu: 'yes'}}]\n")
        names = [w["name"] for w in up.command.json("workers")]
    finally:
        worker.send_signal(signal.SIGTERM)
        worker.communicate(timeout=LONG_S)

    assert up.command.json("show", run_id)["status"] == "success"
    assert "second" in names
    assert worker.returncode == 0


def _until_begun(up: Up, run_id: str) -> None:
    """The first job of the run has written something."""
    process = up.command.start("logs", run_id, "a", "-f")
    assert process.stdout is not None
    assert process.stdout.readline() == "begun\n"
    process.kill()
    process.communicate()
