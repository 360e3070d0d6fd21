"""The program that runs an attempt's checks, as a real process."""

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from worker.checking import FAILED, PASSED, PROGRAM


class Outcome:
    def __init__(self, code: int, log: str) -> None:
        self.code = code
        self.log = log


class Program:
    """Runs checks in a folder, and tells what became of them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.plugins: list[str] = []
        self.plugin_dirs: list[str] = []
        self.env: dict[str, str] = {"PATH": "/usr/bin:/bin"}

    def run(self, *checks: tuple[str, dict[str, Any]], later: tuple[str, ...] = ()) -> Outcome:
        log = self.folder / "attempt.log"
        plan = {
            "phase": "pre_checks",
            "checks": [{"name": name, "params": params} for name, params in checks],
            "later": [{"name": name, "params": {}} for name in later],
            "plugins": self.plugins,
            "plugin_dirs": self.plugin_dirs,
            "run_id": 7,
            "job_id": "load",
            "attempt_id": "a-1",
            "log": str(log),
        }
        with log.open("ab") as output:
            ended = subprocess.run(
                [sys.executable, "-P", "-E", "-S", "-c", PROGRAM],
                input=json.dumps(plan).encode(),
                stdout=output,
                stderr=output,
                cwd=self.folder,
                env=self.env,
                check=False,
                timeout=30,
            )
        return Outcome(ended.returncode, log.read_text())

    def plugin(self, text: str, name: str = "mine.py") -> None:
        """A file that the worker allows and the pipeline names."""
        folder = self.folder / "plugins"
        folder.mkdir(exist_ok=True)
        (folder / name).write_text(f"from drawbar.checks import Failed, Passed\n{text}")
        self.plugins, self.plugin_dirs = [name], [str(folder)]


@pytest.fixture
def program(tmp_path: Path) -> Program:
    return Program(tmp_path)


def test_each_check_has_a_line_until_one_fails(program: Program) -> None:
    ended = program.run(
        ("check_file_exists", {"path": "."}),
        ("check_file_exists", {"path": "gone"}),
        ("check_file_exists", {"path": "never looked at"}),
    )

    first, second = ended.log.splitlines()
    assert ended.code == FAILED
    assert first.startswith("[drawbar] pre-check check_file_exists passed (0.")
    assert second.startswith(
        "[drawbar] pre-check check_file_exists failed: nothing exists at 'gone' (0."
    )


def test_a_line_is_one_of_its_own(program: Program) -> None:
    (program.folder / "attempt.log").write_text("no end of line")

    ended = program.run(("check_command", {"command": "printf said"}))

    assert ended.code == PASSED
    assert ended.log.startswith("no end of linesaid\n[drawbar] pre-check check_command passed")


def test_an_unknown_check_fails_with_the_nearest_name(program: Program) -> None:
    ended = program.run(("check_file_exist", {"path": "."}))

    assert "there is no check 'check_file_exist'; did you mean 'check_file_exists'?" in ended.log


def test_an_unknown_check_of_a_later_phase_fails_before_anything_is_run(
    program: Program,
) -> None:
    ended = program.run(("check_command", {"command": "touch ran"}), later=("check_nonsense",))

    assert ended.code == FAILED
    assert "post-check check_nonsense would fail: there is no check" in ended.log
    assert not (program.folder / "ran").exists()


def test_a_pattern_that_never_ends_is_killed_in_time(program: Program) -> None:
    (program.folder / "evil").write_text("a" * 64 + "b\n")
    began = time.monotonic()

    ended = program.run(
        ("check_pattern_absent", {"file": "evil", "pattern": "(a+)+$", "timeout": 0.3})
    )

    assert ended.code == FAILED
    assert "it took longer than 0.3 s and was killed" in ended.log
    assert time.monotonic() - began < 10


def test_a_huge_line_is_looked_through_in_little_memory(program: Program) -> None:
    with (program.folder / "big").open("wb") as file:
        file.truncate(2**28)  # zeros, in one line
    program.plugin(
        "import resource\n"
        "from worker.checks.files import check_no_ora_errors\n"
        "def peak(params, context):\n"
        "    found = check_no_ora_errors({'log_file': ['big'], 'allow_empty': False}, context)\n"
        "    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "    return found if peak < 100_000 else Failed(f'{peak} KiB')\n"
    )

    ended = program.run(("peak", {}))

    assert ended.code == PASSED, ended.log


def test_own_checks_may_be_async_and_know_where_they_run(program: Program) -> None:
    program.env["COLOUR"] = "green"
    program.plugin(
        "async def told(params, context):\n"
        "    said = (context.run_id, context.job_id, context.phase, context.env['COLOUR'])\n"
        "    return Passed(f'{said} {params} {context.left_s > 50}')\n"
    )

    ended = program.run(("told", {"n": 1}))

    assert "told passed: (7, 'load', 'pre_checks', 'green') {'n': 1} True" in ended.log


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("return {}['x']", "it crashed with KeyError: 'x' (traceback above)"),
        ("raise SystemExit(0)", "it crashed with SystemExit: 0 (traceback above)"),
        ("import os; os._exit(3)", "it ended without a result, exit code 3"),
        ("import os; os.abort()", "it ended without a result, signal 6"),
        ("return 'yes'", "it returned str instead of Passed or Failed"),
        ("return False", "it returned False"),
        ("return Failed('two\\nlines')", "failed: two lines"),
        ("return Failed('\\udcff' + 'x' * 5_000)", "failed: ?xxx"),
    ],
)
def test_whatever_an_own_check_does_it_fails_alone(program: Program, body: str, said: str) -> None:
    program.plugin(f"def mine(params, context):\n    {body}\n")

    ended = program.run(("mine", {}))

    assert ended.code == FAILED
    assert said in ended.log
    assert ("Traceback" in ended.log) == ("traceback" in said)
    assert ended.log.splitlines()[-1].startswith("[drawbar] pre-check mine failed: ")


def test_a_plugin_that_cannot_be_imported_fails_with_its_error(program: Program) -> None:
    program.plugin("import no_such_module_at_all")

    assert "ModuleNotFoundError: No module named 'no_such_module" in program.run(("m", {})).log


def test_a_plugin_is_not_allowed_unless_the_worker_says_so(program: Program) -> None:
    program.plugin("def mine(params, context):\n    return True\n")
    program.plugin_dirs = []

    ended = program.run(("mine", {}))

    assert ended.code == FAILED
    assert "the plugin 'mine.py' is not allowed here" in ended.log
    assert "--allow-plugins" in ended.log


@pytest.mark.parametrize("path", ["../outside.py", "link.py", "/etc/hostname"])
def test_a_plugin_outside_of_the_allowed_folders_is_not_run(program: Program, path: str) -> None:
    program.plugin("")
    outside = program.folder / "outside.py"
    outside.write_text("def mine(params, context):\n    return True\n")
    (program.folder / "plugins" / "link.py").symlink_to(outside)
    program.plugins = [path]

    ended = program.run(("mine", {}))

    assert ended.code == FAILED
    assert "it is in none of this worker's --allow-plugins folders" in ended.log


def test_a_plugin_that_is_missing_is_named(program: Program) -> None:
    program.plugin("")
    program.plugins = ["gone.py"]

    assert "the plugin 'gone.py' does not exist" in program.run(("mine", {})).log


def test_a_plugin_cannot_take_the_place_of_a_shipped_check(program: Program) -> None:
    program.plugin("def check_file_exists(params, context):\n    return True\n")

    assert program.run(("check_file_exists", {"path": "gone"})).code == FAILED


def test_an_installed_package_brings_checks_by_its_entry_points(program: Program) -> None:
    site = program.folder / "site"
    info = site / "their_checks-1.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: their-checks\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[drawbar.checks]\ntheirs = their_checks:look\n")
    (site / "their_checks.py").write_text("def look(params, context):\n    return True\n")
    program.plugin(  # puts on the path what would be there from the start, were it installed
        f"import sys\nsys.path.append({str(site)!r})\n"
        "from worker.checks.own import OwnChecks\n"
        "def mine(params, context):\n"
        "    return OwnChecks([], [], '.').find('theirs')(params, context)\n"
    )

    assert program.run(("mine", {})).code == PASSED


def test_modules_of_the_jobs_folder_and_environment_are_not_taken_for_its_own(
    program: Program,
) -> None:
    (program.folder / "json.py").write_text("raise SystemExit(0)")
    program.env["PYTHONPATH"] = str(program.folder)

    assert program.run(("check_file_exists", {"path": "gone"})).code == FAILED
