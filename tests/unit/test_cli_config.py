"""drawbar.toml: defaults below flags and environment, and mistakes that are named."""

from pathlib import Path

import pytest
import typer

from drawbar.cli.config import defaults
from drawbar.cli.failures import Usage
from drawbar.cli.main import app


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def read(text: str) -> dict[str, dict[str, object]]:
    Path("drawbar.toml").write_text(text)
    found = defaults(typer.main.get_group(app))
    assert found is not None
    return found


def test_without_a_file_there_are_no_defaults() -> None:
    assert defaults(typer.main.get_group(app)) is None


def test_a_setting_at_the_top_is_for_every_command_that_has_it() -> None:
    found = read('data = "/srv"\n')

    assert found["run"] == found["jobstore"] == {"data": "/srv"}
    assert found["validate"] == {}


def test_a_setting_of_a_command_wins_over_one_at_the_top() -> None:
    found = read('data = "/srv"\n[worker]\ndata = "/w"\nregistry-policy = "off"\n')

    assert found["worker"] == {"data": "/w", "registry_policy": "off"}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("dta = 1", "unknown setting 'dta' (did you mean 'data'?)"),
        ("[wroker]\n", "unknown command 'wroker' (did you mean 'worker'?)"),
        ("[run]\nslots = 1", "run has no setting 'slots'"),
        ("data =", "drawbar.toml: "),
    ],
)
def test_a_mistake_is_named_with_the_nearest_known_name(text: str, said: str) -> None:
    with pytest.raises(Usage) as caught:
        read(text)

    assert said in str(caught.value)
