"""What daemons are told on the command line, before anything is started."""

from pathlib import Path

import pytest

from drawbar.cli.connect import checked_url
from drawbar.cli.failures import Usage
from drawbar.cli.parsing import parse_address
from drawbar.cli.serving import submit_line


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:7400", "https://jobs.internal/", "http://[::1]:1"]
)
def test_a_url_that_can_be_asked_stays_as_it_is(url: str) -> None:
    assert checked_url("--gateway", url) == url


@pytest.mark.parametrize(
    "url", ["", "nonsense", "127.0.0.1:7400", "http://", "http://[::1", "http://h:x", "ftp://h:1"]
)
def test_anything_else_is_a_mistake_that_names_the_option(url: str) -> None:
    with pytest.raises(Usage, match="--gateway takes a URL"):
        checked_url("--gateway", url)


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("127.0.0.1:7402", ("127.0.0.1", 7402)),
        ("[::1]:0", ("::1", 0)),
        (":7402", ("0.0.0.0", 7402)),
    ],
)
def test_addresses_to_listen_on(text: str, address: tuple[str, int]) -> None:
    assert parse_address(text) == address


@pytest.mark.parametrize("text", ["", "7402", "host:", "host:x", "host:65536", "host:-1"])
def test_an_address_that_is_none_is_a_mistake(text: str) -> None:
    with pytest.raises(Usage, match="HOST:PORT"):
        parse_address(text)


def test_the_submit_line_names_only_what_is_not_the_default(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", "/home/me")
    own, usual = Path("/home/me/drawbar"), "http://127.0.0.1:7402"

    assert submit_line(usual, own) == "drawbar submit FILE"
    assert submit_line("http://h:1", own) == "drawbar submit FILE --server http://h:1"
    assert submit_line(usual, Path("/a b")) == "drawbar submit FILE --data '/a b'"
