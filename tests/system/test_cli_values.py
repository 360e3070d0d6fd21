"""`drawbar variables`, `connections` and `components`, typed as people type them."""

import base64
import subprocess
from pathlib import Path

import pytest

from tests.support.cli import DRAWBAR, Command


@pytest.fixture(scope="module")
def after_a_run(tmp_path_factory: pytest.TempPathFactory) -> Command:
    command = Command(tmp_path_factory.mktemp("after-a-run"))
    command.write("p.yaml", "jobs: [{id: a, command: 'true'}]")
    assert command.run("run", "p.yaml").returncode == 0
    return command


@pytest.fixture
def drawbar(after_a_run: Command, tmp_path: Path) -> Command:
    """In a data directory that a run has left, from which nobody serves."""
    return after_a_run.twin(tmp_path / "copy")


def test_a_variable_is_set_shown_hidden_revealed_and_removed(drawbar: Command) -> None:
    piped = subprocess.run(
        [*DRAWBAR, "variables", "set", "db_password"],
        input="hunter22\n",
        env=drawbar.env,
        cwd=drawbar.folder,
        capture_output=True,
        text=True,
        check=True,
    )
    drawbar.run("variables", "set", "region", "--file", drawbar.write("region", "eu\n"))

    assert piped.stdout == "variable db_password is set\n"
    assert drawbar.run("variables", "get", "region").stdout == "eu\n"
    hidden = drawbar.run("variables", "get", "db_password")
    assert (hidden.stdout, hidden.stderr) == ("***\n", "it is a secret: --reveal shows it\n")
    assert drawbar.run("variables", "get", "db_password", "--reveal").stdout == "hunter22\n"
    assert drawbar.json("variables", "list") == [
        {"key": "db_password", "value": None, "description": "", "is_secret": True},
        {"key": "region", "value": "eu", "description": "", "is_secret": False},
    ]
    assert "hunter22" not in drawbar.run("variables").stdout
    assert drawbar.run("variables", "delete", "region").returncode == 0
    gone = drawbar.run("variables", "get", "region")
    assert (gone.returncode, gone.stderr) == (1, "drawbar: there is no variable 'region'\n")


def test_a_variable_can_be_set_before_the_first_run(tmp_path: Path) -> None:
    drawbar = Command(tmp_path)

    drawbar.run("variables", "set", "region", "--file", drawbar.write("region", "eu\n"))

    assert drawbar.run("variables", "get", "region").stdout == "eu\n"


def test_a_connection_is_made_and_its_password_hidden(drawbar: Command) -> None:
    password = drawbar.write("password", "hunter22\n")
    extra = drawbar.write("extra.json", '{"ssl": true, "token": "s3cret"}')

    made = drawbar.run(
        *("connections", "set", "db", "--kind", "postgres", "--host", "h", "--port", "5432"),
        *("--password-file", password, "--extra-file", extra),
    )

    assert made.stdout == "connection db is set\n"
    shown = drawbar.run("connections", "get", "db").stdout
    assert "password  ***" in shown
    assert '"token": "***"' in shown
    assert "hunter22" not in shown
    revealed = drawbar.json("connections", "get", "db", "--reveal")["connection"]
    assert (revealed["password"], revealed["extra"]["token"]) == ("hunter22", "s3cret")


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("not json", "is no JSON"),
        ("[]", "must hold a JSON object"),
        ('{"kind": "x", "pasword": "hunter22"}', "a connection has no field 'pasword'"),
        ('{"kind": "x", "port": "hunter22"}', "port: Input should be a valid integer"),
        ('{"kind": "x", "name": "other"}', "has a connection of another name"),
    ],
)
def test_a_bad_connection_says_what_is_wrong_and_no_secret(
    drawbar: Command, content: str, says: str
) -> None:
    file = drawbar.write("c.json", content)

    refused = drawbar.run("connections", "set", "db", "--file", file)

    assert refused.returncode == 2
    assert says in refused.stderr
    assert "hunter22" not in refused.stderr
    assert drawbar.json("connections", "list") == []


def test_a_new_key_seals_everything_and_the_old_one_can_go(drawbar: Command) -> None:
    drawbar.run("variables", "set", "k", "--file", drawbar.write("v", "1"))
    file = drawbar.data / "keys" / "secrets.key"
    old = file.read_text()

    turned = drawbar.json("variables", "rotate-keys", "--new")

    assert (turned["sealed"], turned["keys"]) == (1, 2)
    new, kept = file.read_text().splitlines()
    assert kept == old.strip()
    file.write_text(new + "\n")
    assert drawbar.run("variables", "get", "k").stdout == "1\n"
    assert (file.stat().st_mode & 0o777) == 0o600


def test_a_key_that_opens_nothing_changes_nothing(drawbar: Command) -> None:
    drawbar.run("variables", "set", "k", "--file", drawbar.write("v", "1"))
    other = base64.urlsafe_b64encode(b"o" * 32).decode()

    refused = drawbar.run("variables", "rotate-keys", DRAWBAR_SECRETS_KEY=other)

    assert refused.returncode == 1
    assert "a key that is not given any more" in refused.stderr
    assert drawbar.run("variables", "get", "k").stdout == "1\n"


def test_components_are_none_where_no_daemon_ran(drawbar: Command) -> None:
    assert "no components" in drawbar.run("components").stdout
    assert drawbar.json("components", "--all") == []
