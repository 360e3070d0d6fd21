"""Faults of a daemon: by its endpoint, by a plan file, and at the points that the code names."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from faults.daemon import FaultyDaemon
from shared.errors import Misconfigured, Unavailable
from shared.faultpoints import faultpoint, injector
from shared.http.server import new_app
from shared.runtime import SystemRuntime
from shared.tokens import Minter, Role, Verifier
from tests.support.http import Caller, serving

STORE = "jobstore.store.before_commit"


class Controlled:
    def __init__(self, call: Caller, minter: Minter) -> None:
        self._call = call
        self._minter = minter

    async def __call__(self, method: str, body: Any = None, role: Role = Role.ADMIN) -> Any:
        token = self._minter.client("somebody", role)
        data = None if body is None else json.dumps(body)
        return await self._call(method, "/v1/faults", token=token, data=data)


@asynccontextmanager
async def controlled(**files: Path) -> AsyncIterator[tuple[Controlled, FaultyDaemon]]:
    runtime, key = SystemRuntime(), Ed25519PrivateKey.generate()
    daemon = FaultyDaemon("jobstore", runtime, plan=files.get("plan"), events=files.get("events"))

    async def ready() -> None:
        """Always."""

    app = new_app(ready)
    verifier = Verifier(key.public_key(), runtime)
    daemon.add_routes(app, verifier)
    before = injector.set(None)
    try:
        await daemon.start()
        async with serving(app) as call:
            yield Controlled(call, Minter(key, runtime, verifier)), daemon
    finally:
        await daemon.stop()
        injector.reset(before)


async def test_faults_are_put_seen_and_taken_away() -> None:
    async with controlled() as (faults, _):
        put = await faults("PUT", {"seed": 3, "faults": [{"at": STORE, "action": "error"}]})
        assert put.status == 200
        with pytest.raises(Unavailable):
            await faultpoint(STORE)

        seen = (await faults("GET")).json
        assert (seen["seed"], seen["faults"][0]["strikes"]) == (3, 1)

        await faults("DELETE")
        await faultpoint(STORE)
        assert (await faults("GET")).json["faults"] == []


@pytest.mark.parametrize("role", [Role.VIEWER, Role.SUBMITTER, Role.OPERATOR])
async def test_only_an_admin_may_break_things(role: Role) -> None:
    async with controlled() as (faults, _):
        for method in ("GET", "PUT", "DELETE"):
            answer = await faults(method, {"faults": []}, role)
            assert (answer.status, answer.json["facts"]["check"]) == (403, "role")


@pytest.mark.parametrize(
    "wrong",
    [
        {"faults": [{"at": "nothing.at.all", "action": "error"}]},
        {"faults": [{"at": STORE, "action": "explode"}]},
        {"faults": "all of them"},
        [],
    ],
)
async def test_a_plan_that_means_nothing_changes_nothing(wrong: Any) -> None:
    async with controlled() as (faults, _):
        await faults("PUT", {"seed": 9})
        assert (await faults("PUT", wrong)).status == 400
        assert (await faults("GET")).json["seed"] == 9


async def test_a_plan_file_is_read_again_when_it_changes(tmp_path: Path) -> None:
    plan, events = tmp_path / "plan.yaml", tmp_path / "events.jsonl"
    plan.write_text(f"faults: [{{at: {STORE}, action: error, times: 1}}]")
    async with controlled(plan=plan, events=events):
        with pytest.raises(Unavailable):
            await faultpoint(STORE)
        await faultpoint(STORE)

        plan.write_text("faults: [{at: jobstore.store.after_commit, action: error}]")
        async with asyncio.timeout(10):
            while not await fails("jobstore.store.after_commit"):  # noqa: ASYNC110 - a file is all there is
                await asyncio.sleep(0.05)

        plan.write_text("faults: [{at: nowhere.to.be, action: error}]")
        await asyncio.sleep(0.5)  # it is looked at every 0.2 s
        assert await fails("jobstore.store.after_commit")

    lines = [json.loads(line) for line in events.read_text().splitlines()]
    assert {line["point"] for line in lines} == {STORE, "jobstore.store.after_commit"}
    assert all(line["service"] == "jobstore" and line["at"] for line in lines)


async def fails(point: str) -> bool:
    try:
        await faultpoint(point)
    except Unavailable:
        return True
    return False


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("faults: [", "expected"),
        ("faults: [{at: nowhere.to.be, action: error}]", "no point is called"),
        ("sead: 3", "sead"),
        ("- 1", "PointPlan"),
    ],
)
async def test_a_daemon_does_not_start_on_a_plan_that_means_nothing(
    tmp_path: Path, text: str, why: str
) -> None:
    plan = tmp_path / "plan.yaml"
    plan.write_text(text)
    with pytest.raises(Misconfigured, match=why):
        async with controlled(plan=plan):
            pass
