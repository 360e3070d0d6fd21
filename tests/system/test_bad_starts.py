"""Daemons that cannot start: one clear line on stderr, an exit code, and no traceback (P10)."""

import os
import socket
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.daemons import Finished, run_command

ANYWHERE = "127.0.0.1:0"


@pytest.fixture
def env(tmp_path: Path) -> dict[str, str]:
    clean = {k: v for k, v in os.environ.items() if not k.startswith("DRAWBAR_")}
    return {**clean, "DRAWBAR_DATA": str(tmp_path / "data")}


@pytest.fixture
def taken() -> Iterator[str]:
    """An address on which somebody listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield f"127.0.0.1:{listener.getsockname()[1]}"


@pytest.mark.parametrize("service", ["jobstore", "registry", "gateway"])
async def test_a_port_in_use(service: str, taken: str, env: dict[str, str], tmp_path: Path) -> None:
    ended = await run_command([service, "--listen", taken], env, tmp_path)

    assert taken in said_once(ended)
    assert "in use" in ended.err


async def test_up_on_a_port_in_use_stops_what_it_had_started(
    taken: str, env: dict[str, str], tmp_path: Path
) -> None:
    base = str(int(taken.rpartition(":")[2]) - 2)  # it is the job service's, the last to start

    ended = await run_command(["up", "--port-base", base], env, tmp_path)

    assert taken in said_once(ended)


@pytest.mark.parametrize("service", ["jobstore", "registry"])
async def test_a_data_directory_that_is_a_file(
    service: str, env: dict[str, str], tmp_path: Path
) -> None:
    place = tmp_path / "data"
    place.write_text("I was here first")

    ended = await run_command([service, "--listen", ANYWHERE], env, tmp_path)

    assert str(place) in said_once(ended)
    assert place.read_text() == "I was here first"


async def test_a_folder_of_the_data_directory_that_cannot_be_made(
    env: dict[str, str], tmp_path: Path
) -> None:
    place = tmp_path / "data" / "jobstore"
    place.parent.mkdir()
    place.symlink_to("/proc/1/nowhere")  # not even root can make that

    ended = await run_command(["jobstore", "--listen", ANYWHERE], env, tmp_path)

    assert str(place) in said_once(ended)


@pytest.mark.parametrize(
    ("service", "file"), [("jobstore", "jobs.db"), ("registry", "registry.db")]
)
async def test_a_database_that_is_none(
    service: str, file: str, env: dict[str, str], tmp_path: Path
) -> None:
    database = database_of(tmp_path, service, file)
    database.write_bytes(b"not a database at all " * 500)

    ended = await run_command([service, "--listen", ANYWHERE], env, tmp_path)

    assert str(database) in said_once(ended)
    assert database.read_bytes() == b"not a database at all " * 500


@pytest.mark.parametrize(
    ("service", "file"), [("jobstore", "jobs.db"), ("registry", "registry.db")]
)
async def test_a_damaged_database(
    service: str, file: str, env: dict[str, str], tmp_path: Path
) -> None:
    database = database_of(tmp_path, service, file)
    with sqlite3.connect(database) as conn:
        conn.execute("CREATE TABLE job (id INTEGER PRIMARY KEY, text TEXT)")
        conn.executemany("INSERT INTO job (text) VALUES (?)", [("x" * 500,)] * 200)
    conn.close()
    content = bytearray(database.read_bytes())
    content[4_096:12_288] = b"\xff" * 8_192
    database.write_bytes(content)

    ended = await run_command([service, "--listen", ANYWHERE], env, tmp_path)

    assert str(database) in said_once(ended)
    assert "damaged" in ended.err


@pytest.mark.parametrize(
    ("service", "file"), [("jobstore", "jobs.db"), ("registry", "registry.db")]
)
async def test_a_database_of_a_newer_drawbar(
    service: str, file: str, env: dict[str, str], tmp_path: Path
) -> None:
    database = database_of(tmp_path, service, file)
    with sqlite3.connect(database) as conn:
        conn.execute("PRAGMA user_version = 999")
    conn.close()

    ended = await run_command([service, "--listen", ANYWHERE], env, tmp_path)

    assert "999" in said_once(ended)
    assert "newer" in ended.err


@pytest.mark.parametrize(
    "words", [["gateway", "--jobstore"], ["worker", "--gateway"], ["worker", "--registry"]]
)
async def test_an_address_that_is_no_url(
    words: list[str], env: dict[str, str], tmp_path: Path
) -> None:
    ended = await run_command([*words, "nonsense"], env, tmp_path)

    assert f"{words[-1]} takes a URL" in said_once(ended)
    assert ended.code == 2


async def test_a_signing_key_that_is_none(env: dict[str, str], tmp_path: Path) -> None:
    key = tmp_path / "signing.pem"
    key.write_text("a secret that must not be shown")

    ended = await run_command(
        ["gateway", "--listen", ANYWHERE], {**env, "DRAWBAR_SIGNING_KEY_FILE": str(key)}, tmp_path
    )

    assert str(key) in said_once(ended)
    assert "must not be shown" not in ended.err


def database_of(folder: Path, service: str, file: str) -> Path:
    path = folder / "data" / service / file
    path.parent.mkdir(parents=True)
    return path


def said_once(ended: Finished) -> str:
    """The one line that it said."""
    assert ended.code not in (0, None)
    assert "Traceback" not in ended.err
    lines = [line for line in ended.err.splitlines() if line.startswith("drawbar: ")]
    assert len(lines) == 1, ended.err
    return lines[0]
