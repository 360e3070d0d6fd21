"""The database whose writer serves many calls with one commit."""

import asyncio
import threading
from importlib.resources import files
from pathlib import Path

import pytest

from shared.errors import Overloaded, StoreFailed
from shared.sqlite import Database, Tx
from tests.support.runtime import ManualRuntime


async def a_database(folder: Path) -> Database:
    database = Database(
        folder / "test.db",
        migrations=files("jobstore.store").joinpath("migrations"),
        runtime=ManualRuntime(),
        name="test",
    )
    await database.start()
    return database


def note(tx: Tx) -> None:
    tx.conn.execute("INSERT INTO selector (labels) VALUES ('{}')")


async def test_a_write_that_the_end_overtakes_is_answered(tmp_path: Path) -> None:
    database = await a_database(tmp_path)
    began, go_on = threading.Event(), threading.Event()

    def slow(tx: Tx) -> None:
        began.set()
        go_on.wait(5)

    async with asyncio.timeout(5):
        writing = asyncio.create_task(database.write(slow))
        await asyncio.to_thread(began.wait, 5)
        stopping = asyncio.create_task(database.stop())
        await asyncio.sleep(0)
        go_on.set()
        await stopping
        with pytest.raises(StoreFailed):
            await writing


async def test_what_must_be_written_is_never_shed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = await a_database(tmp_path)
    monkeypatch.setattr("shared.sqlite.MAX_WAITING", 0)

    with pytest.raises(Overloaded):
        await database.write(note)
    await database.write(note, must=True)

    rows = await database.read(lambda conn: conn.execute("SELECT id FROM selector").fetchall())
    await database.stop()
    assert len(rows) == 1
