"""What jobs inherit of the environment in which their worker was started."""

import pytest

from shared.protocol.pipeline import InheritEnv
from worker.environment import filled, inherited, looks_secret, shell_env, usual_env
from worker.ports import CannotStart
from worker.settings import WorkerSettings

STARTED_WITH = {
    "PATH": "/bin",
    "LC_ALL": "C",
    "EDITOR": "ed",
    "AWS_SECRET_ACCESS_KEY": "s",
    "DRAWBAR_TOKEN": "s",
}


def names(wish: InheritEnv | None, *, is_own_shell: bool = False) -> set[str]:
    settings = WorkerSettings(
        name="w",
        slots=1,
        base_env={"BASE": "1"},
        shell_env=shell_env(STARTED_WITH),
        is_own_shell=is_own_shell,
    )
    return set(inherited(settings, wish))


def test_a_pipeline_that_wishes_nothing_gets_what_its_worker_gives() -> None:
    assert names(None) == {"BASE"}


def test_all_of_a_daemons_environment_is_without_secrets() -> None:
    assert names(True) == {"PATH", "LC_ALL", "EDITOR"}


def test_all_of_a_persons_own_shell_is_all_of_it() -> None:
    assert names(True, is_own_shell=True) == {"PATH", "LC_ALL", "EDITOR", "AWS_SECRET_ACCESS_KEY"}


def test_nothing_is_nothing_and_the_usual_are_few() -> None:
    assert names(False) == set()
    assert names("default") == {"PATH", "LC_ALL"}


def test_a_list_gives_those_names_that_there_are_but_never_our_own() -> None:
    wish = ("EDITOR", "GONE", "AWS_SECRET_ACCESS_KEY", "DRAWBAR_TOKEN")

    assert names(wish) == {"EDITOR", "AWS_SECRET_ACCESS_KEY"}


def test_a_daemons_jobs_inherit_no_secret_unasked() -> None:
    assert usual_env(STARTED_WITH) == {"PATH": "/bin", "LC_ALL": "C"}


def test_what_is_left_of_references_means_what_is_inherited() -> None:
    values = {"PATH": "/bin", "A": "${PATH}"}

    assert filled("/opt:${PATH}:${GONE}:$PATH", values, "x") == "/opt:/bin:${GONE}:$PATH"
    assert filled("${A}", values, "x") == "${PATH}"


def test_a_text_that_grows_without_end_starts_nothing() -> None:
    with pytest.raises(CannotStart, match="variable A has more than 131,072 characters"):
        filled("${A}" * 10_000, {"A": "x" * 1_000}, "variable A")


def test_secrets_are_told_by_their_names() -> None:
    secret = (
        "DB_PASSWORD",
        "GITHUB_TOKEN",
        "AWS_SECRET_ACCESS_KEY",
        "API_KEY",
        "SSH_KEY",
        "PGPASSWORD",
    )
    plain = ("PWD", "OLDPWD", "SSH_AUTH_SOCK", "KEYBOARD", "TOKENIZERS_PARALLELISM", "AUTHOR")

    assert [name for name in (*secret, *plain) if looks_secret(name)] == list(secret)
