"""What `--help` says, word for word: people and documents rely on it."""

import json
import subprocess
import sys

import pytest

from drawbar.cli.main import COMMANDS
from tests.support.golden import assert_golden

NAMES = [name for _, name, _ in COMMANDS]

# In a process of its own: colours and width are settled from the environment at import.
PRINT_ALL = """
import io, json, sys
from contextlib import redirect_stdout
from drawbar.cli.main import run_command
said = {}
for name in sys.argv[1:]:
    with redirect_stdout(io.StringIO()) as out:
        assert run_command([*name.split(), "--help"]) == 0
    said[name] = "".join(line.rstrip() + "\\n" for line in out.getvalue().splitlines())
print(json.dumps(said))
"""


@pytest.fixture(scope="module")
def helps() -> dict[str, str]:
    """What each command says; that of `drawbar` itself is under the empty name."""
    found = subprocess.run(
        [sys.executable, "-c", PRINT_ALL, "", *NAMES],
        env={"COLUMNS": "100", "TERM": "dumb", "PYTHONIOENCODING": "utf-8"},
        capture_output=True,
        text=True,
        check=True,
    )
    said: dict[str, str] = json.loads(found.stdout)
    return said


def test_golden_help_of_drawbar(helps: dict[str, str]) -> None:
    assert_golden("help/drawbar.txt", helps[""])


@pytest.mark.parametrize("name", NAMES)
def test_golden_help_of_each_command(helps: dict[str, str], name: str) -> None:
    assert_golden(f"help/{name.replace(' ', '-')}.txt", helps[name])


@pytest.mark.parametrize("name", NAMES)
def test_every_help_has_an_example(helps: dict[str, str], name: str) -> None:
    assert f"Example: drawbar {name}" in helps[name]
