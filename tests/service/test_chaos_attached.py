"""Faults at points of services that others have started, and what is written down of them."""

import asyncio
from collections.abc import Sequence
from pathlib import Path

import pytest
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from faults.chaos.attached import Attached
from faults.chaos.plan import SERVICES, ChaosPlan
from faults.chaos.recorder import Recorder
from faults.daemon import FaultyDaemon
from faults.plan import PointFault
from shared.errors import Unavailable
from shared.faultpoints import faultpoint, injector
from shared.http.server import new_app
from shared.runtime import SystemRuntime
from shared.tokens import Minter, Role, Verifier
from tests.support.http import serving

STORE = "jobstore.store.before_commit"


def fault(at: str) -> Sequence[PointFault]:
    return [PointFault.model_validate({"at": at, "action": "error"})]


async def test_a_fault_that_goes_on_when_another_comes_is_counted_once(tmp_path: Path) -> None:
    runtime, key = SystemRuntime(), Ed25519PrivateKey.generate()
    daemon = FaultyDaemon("jobstore", runtime, plan=None, events=None)

    async def ready() -> None:
        """Always."""

    async def no_runs(_: web.Request) -> web.Response:
        return web.json_response({"runs": []})

    app = new_app(ready)
    app.router.add_get("/v1/runs", no_runs)
    verifier = Verifier(key.public_key(), runtime)
    daemon.add_routes(app, verifier)
    before = injector.set(None)
    token = Minter(key, runtime, verifier).client("somebody", Role.ADMIN)
    step = {"what": "points", "target": "jobstore", "at": 0, "for_s": 60}
    step["faults"] = [{"at": STORE, "action": "error"}]
    plan = ChaosPlan.model_validate({"name": "test", "duration_s": 20, "steps": [step]})
    recorder = Recorder(tmp_path / "history.jsonl", runtime)
    try:
        await daemon.start()
        async with serving(app) as call, asyncio.TaskGroup() as group:

            async def disturb(at: str) -> asyncio.Task[bool]:
                """The fault is in force, and so are the others."""
                known = len(await in_force())
                task = group.create_task(site.disturb("jobstore", fault(at), 60))
                async with asyncio.timeout(5):
                    while len(await in_force()) == known:
                        pass
                return task

            async def in_force() -> list[object]:
                found: list[object] = (await call("GET", "/v1/faults", token=token)).json["faults"]
                return found

            urls = dict.fromkeys(SERVICES, call.url)
            site = Attached(plan, urls, token, recorder, runtime)
            await site.start(lambda *_: None)
            steps = [await disturb(STORE)]
            with pytest.raises(Unavailable):
                await faultpoint(STORE)
            steps.append(await disturb("jobstore.submit.received"))
            with pytest.raises(Unavailable):
                await faultpoint(STORE)
            for task in steps:
                task.cancel()
            await site.end()
    finally:
        await daemon.stop()
        injector.reset(before)
        recorder.close()

    struck = [e.facts["times"] for e in recorder.entries if e.op == "struck"]
    assert struck == [1, 1]
