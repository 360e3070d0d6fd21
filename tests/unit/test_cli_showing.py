"""Commands as a plan shows them: filled in as the shell would, and never with a secret."""

import pytest

from drawbar.cli.showing import shown_environment, shown_lines
from shared.protocol.pipeline import JobSpec

ENV = {"STAGE": "test", "DB_PASSWORD": "hunter2", "URL": "https://ada:hunter2@db/x"}


def shown(**what: object) -> list[str]:
    return shown_lines(JobSpec.model_validate({"id": "a", **what}), ENV)


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("deploy ${STAGE} $STAGE", "deploy test test"),
        ('echo "at $STAGE"', 'echo "at test"'),
        ("echo '$STAGE'", "echo '$STAGE'"),
        ('echo "it\'s $STAGE"', 'echo "it\'s test"'),
        (r"echo \$STAGE", r"echo \$STAGE"),
        ("echo $HOME ${UNKNOWN:-x}", "echo $HOME ${UNKNOWN:-x}"),
        ("$STAGEX", "$STAGEX"),
    ],
)
def test_variables_are_filled_in_where_the_shell_would(command: str, said: str) -> None:
    assert shown(command=command) == [said]


@pytest.mark.parametrize(
    "command",
    [
        "login $DB_PASSWORD",
        "login hunter2",
        'login "${DB_PASSWORD}"',
        "curl $URL",
        "tool --password hunter2",
        "tool --api-key=hunter2x",
        "tool --auth-token 'hun ter2'",
        "psql postgres://ada:other@db/x",
    ],
)
def test_no_secret_is_shown(command: str) -> None:
    (line,) = shown(command=command)

    assert "***" in line
    assert not any(secret in line for secret in ("hunter2", "hun ter2", "other"))


def test_every_line_of_a_script_is_shown() -> None:
    assert shown(script=["echo $STAGE\necho two\n", "three"]) == ["echo test", "echo two", "three"]


def test_exact_words_are_shown_as_words() -> None:
    assert shown(argv=["echo", "a b", "$STAGE"]) == ["echo 'a b' '$STAGE'"]


def test_secret_variables_are_shown_by_name_only() -> None:
    assert shown_environment(ENV) == {
        "STAGE": "test",
        "DB_PASSWORD": "***",
        "URL": "https://ada:***@db/x",
    }
