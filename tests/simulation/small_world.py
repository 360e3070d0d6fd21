"""A small program of aiohttp, aiosqlite and `shared.sqlite.Database` under simulation.

It uses every leak the world must cut: ids of libraries, dates, jitter, sets of tasks, threads.
`python -m tests.simulation.small_world SEED` prints the digest of one run.
"""

import asyncio
import random
import sys
import tempfile
import time
import uuid
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import tenacity
from aiohttp import web

from shared.sqlite import Database, Tx
from simulation.loop import SimulatedLoop
from simulation.network import Network, Socket
from simulation.process import Machine
from simulation.runtime import SimRuntime
from simulation.world import simulated

CALLS = 12


@dataclass
class Outcome:
    digest: str
    stored: list[str]
    acknowledged: list[str]
    errors: list[str]
    virtual_s: float


async def serve(path: Path, migrations: Path, loop: SimulatedLoop) -> None:
    database = Database(path, migrations=migrations, runtime=SimRuntime(loop.current), name="notes")
    await database.start()

    async def add(request: web.Request) -> web.Response:
        note = await request.text()

        def insert(tx: Tx) -> None:
            tx.conn.execute("INSERT OR IGNORE INTO note VALUES (?, ?)", (note, tx.now_us))

        await database.write(insert)
        return web.json_response({"id": str(uuid.uuid4()), "at": time.time()})

    app = web.Application()
    app.router.add_post("/notes", add)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "0.0.0.0", 80).start()


async def write_notes(name: str, acknowledged: list[str]) -> None:
    connector = aiohttp.TCPConnector(socket_factory=Socket)  # type: ignore[arg-type]  # a stand-in
    timeout = aiohttp.ClientTimeout(total=3)
    async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session:

        async def write(note: str) -> None:
            async for attempt in tenacity.AsyncRetrying(
                wait=tenacity.wait_random_exponential(0.1, 2),
                retry=tenacity.retry_if_exception_type((aiohttp.ClientError, TimeoutError)),
            ):
                with attempt:
                    async with session.post("http://server/notes", data=note) as reply:
                        await reply.json()
                    acknowledged.append(note)

        for n in range(CALLS):
            await write(f"{name}-{n}")
            await asyncio.sleep(random.uniform(0, 0.5))
        async with asyncio.TaskGroup() as group:
            for n in range(CALLS):
                group.create_task(write(f"{name}-{CALLS + n}"))


def run(seed: int, folder: Path, *, cut_power: bool = False) -> Outcome:
    """One universe: two writers, a server that is killed and comes back."""
    migrations = folder / "migrations"
    migrations.mkdir()
    (migrations / "1_notes.sql").write_text("CREATE TABLE note (note TEXT PRIMARY KEY, at INT)")
    path = folder / "notes.db"
    loop = SimulatedLoop(seed)
    Network(loop)
    machine = Machine("server")
    acknowledged: list[str] = []
    stored: list[str] = []

    async def scenario() -> None:
        server = loop.start_process(machine)
        server.spawn(serve(path, migrations, loop), "serve")
        clients = [loop.start_process(Machine(n)) for n in ("anna", "berta")]
        writers = [p.spawn(write_notes(p.name, acknowledged), "write") for p in clients]
        for _ in range(3):
            await asyncio.sleep(loop.chance.uniform(0.2, 2))
            machine.is_powered = not cut_power
            server.kill()
            await asyncio.sleep(loop.chance.uniform(0.1, 1))
            machine.power_on()
            server = loop.start_process(machine)
            server.spawn(serve(path, migrations, loop), "serve")
        await asyncio.wait(writers)
        database = Database(
            path, migrations=migrations, runtime=SimRuntime(loop.current), name="notes"
        )
        server.kill()
        await database.start()
        rows = await database.read(
            lambda c: c.execute("SELECT note FROM note ORDER BY 1").fetchall()
        )
        stored.extend(row[0] for row in rows)
        await database.stop()

    with simulated(loop):
        loop.run_until_complete(loop.world.spawn(scenario(), "scenario"))
    return Outcome(loop.digest, stored, acknowledged, loop.errors, loop.now)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(dir="/dev/shm") as name:
        outcome = run(int(sys.argv[1]), Path(name))
        sys.stdout.write(outcome.digest)
