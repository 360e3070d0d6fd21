"""What each shipped check passes, and what it says when it does not."""

import asyncio
import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.pages import page_server
from worker.checks.contract import Context, Failed, Passed
from worker.checks.params import BadParams, read_params, seconds, size_or_share, take_timeout
from worker.checks.reading import PIECE_BYTES
from worker.checks.shipped import SHIPPED, is_sound

NOW = 1_700_000_000.0
Look = Callable[..., Passed | Failed]


@pytest.fixture
def look(tmp_path: Path) -> Look:
    """A shipped check, run in this process, in a folder of the test's own."""

    def looked(name: str, **params: Any) -> Passed | Failed:
        context = Context(
            run_id=1,
            job_id="j",
            attempt_id="a",
            phase="pre_checks",
            cwd=str(tmp_path),
            env={"PATH": os.environ["PATH"], "HOME": str(tmp_path), "WHERE": "logs"},
            log=str(tmp_path / "attempt.log"),
            deadline=60.0,
            now=lambda: NOW,
            mono=lambda: 0.0,
        )
        check, declared = SHIPPED[name]
        result = check(read_params(declared, params), context)
        assert isinstance(result, Passed | Failed)
        return result

    return looked


def why(result: Passed | Failed) -> str:
    assert isinstance(result, Failed), result
    return result.why


# -- parameters --------------------------------------------------------------------------------


def test_every_mistake_in_parameters_is_named_at_once() -> None:
    with pytest.raises(BadParams) as caught:
        read_params(SHIPPED["check_tcp_port"].params, {"hst": "x", "port": "70000"})

    assert "unknown parameter 'hst'; did you mean 'host'?" in str(caught.value)
    assert "parameter 'port' must be between 1 and 65535, found 70000" in str(caught.value)


@pytest.mark.parametrize(
    ("value", "expected"),
    [(90, 90.0), ("90s", 90.0), ("1.5m", 90.0), ("2h", 7_200.0), ("1d", 86_400)],
)
def test_durations_are_numbers_or_words(value: object, expected: float) -> None:
    assert seconds(value) == expected


@pytest.mark.parametrize("value", [-1, "soon", True, None, "1y", "1e9", float("nan"), [1]])
def test_what_is_no_duration_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match="must be seconds"):
        seconds(value)


def test_sizes_are_bytes_words_or_shares() -> None:
    assert size_or_share("2K") == (2_048, False)
    assert size_or_share("10GiB") == (10 * 2**30, False)
    assert size_or_share("5%") == (0.05, True)
    with pytest.raises(ValueError, match="between 0% and 100%"):
        size_or_share("101%")


def test_a_timeout_is_not_a_parameter_of_the_check_itself() -> None:
    assert take_timeout({"path": "x", "timeout": "2m"}) == (120.0, {"path": "x"})
    assert take_timeout({}) == (60.0, {})
    with pytest.raises(BadParams, match="more than 0"):
        take_timeout({"timeout": 0})


def test_only_shipped_checks_with_their_parameters_are_sound() -> None:
    assert is_sound("check_file_exists", {"path": "x", "timeout": 5})
    assert not is_sound("check_file_exists", {"pfad": "x"})
    assert not is_sound("check_of_my_own", {})


# -- files -------------------------------------------------------------------------------------


def test_a_file_exists_or_is_named(look: Look, tmp_path: Path) -> None:
    (tmp_path / "here").touch()

    assert look("check_file_exists", path="here") == Passed()
    assert look("check_file_exists", path=str(tmp_path / "here")) == Passed()
    assert why(look("check_file_exists", path=["here", "gone"])) == "nothing exists at 'gone'"


def test_a_file_is_found_through_globs_and_the_jobs_environment(look: Look, tmp_path: Path) -> None:
    (tmp_path / "logs" / "deep").mkdir(parents=True)
    (tmp_path / "logs" / "deep" / "a.log").touch()
    (tmp_path / "[odd]").touch()

    assert look("check_file_exists", path="${WHERE}/**/*.log") == Passed()
    assert look("check_file_exists", path="~/logs") == Passed()
    assert look("check_file_exists", path="[odd]") == Passed()
    assert "'${NOWHERE}/x'" in why(look("check_file_exists", path="${NOWHERE}/x"))


def test_a_directory_is_no_file_where_a_file_is_wanted(look: Look, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "dangling").symlink_to("nowhere")

    assert look("check_file_exists", path="folder") == Passed()
    assert why(look("check_file_exists", path="folder", kind="file")) == "'folder' is no file"
    assert "link to nothing" in why(look("check_file_exists", path="dangling"))


def test_a_fresh_file_is_young_and_newer_than_another(look: Look, tmp_path: Path) -> None:
    for name, age_s in (("old", 500), ("young", 10)):
        (tmp_path / name).touch()
        os.utime(tmp_path / name, (NOW - age_s, NOW - age_s))

    assert look("check_file_fresh", path="young", max_age="1m", newer_than="old") == Passed()
    assert "500 s ago, more than 60 s" in why(look("check_file_fresh", path="old", max_age=60))
    assert "not newer than 'young'" in why(look("check_file_fresh", path="old", newer_than="young"))
    assert "no such file" in why(look("check_file_fresh", path="old", newer_than="gone"))
    assert "is needed" in why(look("check_file_fresh", path="old"))


def test_an_oracle_error_is_quoted_with_its_place(look: Look, tmp_path: Path) -> None:
    (tmp_path / "a.log").write_bytes(b"fine\n\xff\xfe no utf-8\nORA-00942: no such table\n")
    (tmp_path / "b.log").write_bytes(b"SP2-0734: unknown command\n")

    assert why(look("check_no_ora_errors", log_file="*.log")) == (
        "'a.log', line 3: ORA-00942: no such table"
    )
    assert look("check_no_ora_errors", log_file="b.log") == Passed("1 file")
    assert "SP2-0734" in why(look("check_no_ora_or_sp2_errors", log_file="b.log"))


def test_a_glob_that_matches_nothing_fails_unless_that_is_allowed(look: Look) -> None:
    assert "no file matches '*.log'" in why(look("check_no_ora_errors", log_file="*.log"))
    assert look("check_no_ora_errors", log_file="*.log", allow_empty=True) == Passed("0 files")


def test_a_pattern_is_absent_from_all_or_present_in_each(look: Look, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("one\nDone.\r\n")
    (tmp_path / "b.txt").write_text("one\n")

    assert look("check_pattern_absent", file="*.txt", pattern="error") == Passed("2 files")
    assert look("check_pattern_present", file="a.txt", pattern=r"^done\.$", ignore_case=True)
    assert "'a.txt', line 2: Done." in why(
        look("check_pattern_absent", file="*.txt", pattern="Done")
    )
    assert why(look("check_pattern_present", file="*.txt", pattern="Done")) == (
        "no line of 'b.txt' matches 'Done'"
    )
    assert "no regular expression" in why(look("check_pattern_absent", file="a.txt", pattern="("))


def test_what_cannot_be_read_as_a_file_fails(look: Look, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()

    for name in ("pipe", "folder"):
        assert f"'{name}' is no regular file" in why(look("check_no_ora_errors", log_file=name))


def test_the_attempts_own_log_can_be_looked_at(look: Look, tmp_path: Path) -> None:
    (tmp_path / "attempt.log").write_text("ORA-1\n")

    assert "ORA-1" in why(look("check_no_ora_errors", log_file="${DRAWBAR_LOG}"))


def test_a_line_of_many_megabytes_is_looked_through_in_pieces(look: Look, tmp_path: Path) -> None:
    across = b"x" * (PIECE_BYTES - 3) + b"ORA-1" + b"y" * PIECE_BYTES
    (tmp_path / "long.log").write_bytes(b"first\n" + across)

    assert "'long.log', line 2: " in why(look("check_no_ora_errors", log_file="long.log"))


# -- the machine -------------------------------------------------------------------------------


def test_a_command_passes_by_its_exit_code(look: Look) -> None:
    assert look("check_command", command='test -n "$HOME"') == Passed()
    assert look("check_command", command=["sh", "-c", "exit 3"], exit_code=3) == Passed()
    assert "exit code 4, not 0" in why(look("check_command", command="exit 4"))
    assert "signal 9" in why(look("check_command", command="kill -9 $$"))
    assert "no such file" in why(look("check_command", command=["no-such-command"]))


def test_a_disk_has_room_or_it_is_said_how_much(look: Look) -> None:
    assert isinstance(look("check_disk_space", min_free="1K"), Passed)
    assert isinstance(look("check_disk_space", min_free="0%"), Passed)
    assert "not 9000.0 TiB" in why(look("check_disk_space", min_free="9000T"))
    assert "cannot look at 'gone'" in why(look("check_disk_space", path="gone", min_free=1))


def test_a_port_is_open_or_refuses(look: Look) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]

        assert look("check_tcp_port", port=port) == Passed()
    assert "connection refused" in why(look("check_tcp_port", port=port))


async def test_a_page_answers_with_the_status_and_body_that_are_wanted(look: Look) -> None:
    async with page_server({"/ok": (200, "all is well"), "/moved": (302, "")}) as url:

        async def ask(path: str, **params: Any) -> Passed | Failed:
            return await asyncio.to_thread(look, "check_http", url=url + path, **params)

        assert await ask("/ok", body_pattern="is w.ll") == Passed("status 200")
        assert await ask("/moved", status=[301, 302]) == Passed("status 302")
        assert "answers with 404, not 2xx" in why(await ask("/gone"))
        assert "does not match 'ill'" in why(await ask("/ok", body_pattern="ill"))
    assert "does not answer" in why(await ask("/ok"))


@pytest.mark.parametrize("url", ["ftp://x/", "localhost", "http://", "http://x:99999/"])
def test_a_url_that_is_none_is_a_mistake(look: Look, url: str) -> None:
    assert "parameter 'url'" in why(look("check_http", url=url))
