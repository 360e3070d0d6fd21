"""Faults at points of services that others have started, and what is written down of them."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from faults.chaos.attached import Attached
from faults.chaos.plan import SERVICES, ChaosPlan
from faults.chaos.recorder import Recorder
from faults.daemon import FaultyDaemon
from faults.injector import Injector
from faults.plan import PointFault
from shared.errors import Unavailable
from shared.faultpoints import injector
from shared.http.server import Server, new_app
from shared.runtime import SystemRuntime
from shared.tokens import Minter, Role, Verifier

STORE = "jobstore.store.before_commit"
LONG_S = 60.0


@dataclass
class Elsewhere:
    """All services in one process that others have started, and who attaches to it."""

    server: Server
    injector: Injector
    site: Attached
    recorder: Recorder
    steps: list[asyncio.Task[bool]] = field(default_factory=list)

    async def disturb(self, at: str) -> None:
        """A fault is in force there, beside the others."""
        known = len(self.injector.strikes)
        faults = [PointFault.model_validate({"at": at, "action": "error"})]
        step = self.site.disturb("jobstore", faults, LONG_S)
        self.steps.append(asyncio.create_task(step))
        async with asyncio.timeout(5):
            while len(self.injector.strikes) == known:  # noqa: ASYNC110  # it rings no bell
                await asyncio.sleep(0)

    async def strike(self) -> None:
        with pytest.raises(Unavailable):
            await self.injector(STORE, {})

    async def end_steps(self) -> None:
        for step in self.steps:
            step.cancel()
        if self.steps:
            await asyncio.wait(self.steps)


@pytest.fixture
async def elsewhere(tmp_path: Path) -> AsyncIterator[Elsewhere]:
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
    token = Minter(key, runtime, verifier).client("somebody", Role.ADMIN)
    step = {"what": "points", "target": "jobstore", "at": 0, "for_s": LONG_S}
    step["faults"] = [{"at": STORE, "action": "error"}]
    plan = ChaosPlan.model_validate({"name": "test", "duration_s": 20, "steps": [step]})
    async with AsyncExitStack() as stack:
        server = Server(app, "127.0.0.1", 0, linger_s=0.05)
        recorder = Recorder(tmp_path / "history.jsonl", runtime)
        stack.callback(recorder.close)
        stack.callback(injector.set, None)
        stack.push_async_callback(daemon.stop)
        await daemon.start()
        found = injector.get()
        assert isinstance(found, Injector)
        stack.push_async_callback(server.stop)
        await server.start()
        site = Attached(plan, dict.fromkeys(SERVICES, server.url), token, recorder, runtime)
        stack.push_async_callback(site.end)
        await site.start(lambda *_: None)
        there = Elsewhere(server, found, site, recorder)
        stack.push_async_callback(there.end_steps)
        yield there


async def test_a_fault_that_goes_on_when_another_comes_is_counted_once(
    elsewhere: Elsewhere,
) -> None:
    await elsewhere.disturb(STORE)
    await elsewhere.strike()
    await elsewhere.disturb("jobstore.submit.received")
    await elsewhere.strike()
    await elsewhere.end_steps()

    await elsewhere.site.heal()

    struck = [e.facts["times"] for e in elsewhere.recorder.entries if e.op == "struck"]
    assert struck == [1, 1]


async def test_a_service_that_cannot_be_healed_is_named(
    monkeypatch: pytest.MonkeyPatch, elsewhere: Elsewhere
) -> None:
    monkeypatch.setattr("faults.chaos.attached.PERSIST_S", 0.05)
    await elsewhere.disturb(STORE)
    await elsewhere.end_steps()
    await elsewhere.server.stop()

    await elsewhere.site.heal()

    assert list(elsewhere.site.skipped) == ["healing of gateway"]
