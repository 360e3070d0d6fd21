"""Which token opens which of the registry's doors, and what bad input gets there."""

import json
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from registry.app import build_app
from registry.service import RegistryService
from shared.ids import WorkerId
from shared.tokens import WORKER_S, Minter, Role, Verifier
from tests.support.carriers import KEY
from tests.support.http import Caller, Reply, serving
from tests.support.line import line_to
from tests.support.registries import SECRET, a_registry, an_enrolment
from tests.support.runtime import ManualRuntime

ENROLMENT = an_enrolment().model_dump_json()
STATUS = json.dumps({"incarnation": 1, "status": "Working", "attempts": [], "free_slots": 1})
WISH = json.dumps({"reason": "maintenance"})


@dataclass
class World:
    runtime: ManualRuntime
    minter: Minter
    service: RegistryService
    call: Caller

    def client(self, role: Role) -> str:
        return self.minter.client("ann", role)

    async def enrol(self) -> Any:
        reply = await self.call("POST", "/v1/workers", token=SECRET, data=ENROLMENT)
        assert reply.status == 201
        return reply.json


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    runtime = ManualRuntime()
    verifier = Verifier(KEY.public_key(), runtime)
    minter = Minter(KEY, runtime, verifier)
    async with a_registry(tmp_path, runtime) as service:
        app = build_app(service, verifier, minter, SECRET)
        async with serving(app) as call:
            yield World(runtime, minter, service, call)


def check_of(reply: Reply) -> tuple[int, str]:
    return reply.status, reply.json["facts"]["check"]


# -- enrolment ----------------------------------------------------------------------------------


async def test_enrolment_takes_the_secret_and_nothing_else(world: World) -> None:
    admin, worker = (
        world.client(Role.ADMIN),
        world.minter.worker((await world.enrol())["worker_id"]),
    )

    answers = [
        check_of(await world.call("POST", "/v1/workers", token=token, data=ENROLMENT))
        for token in (None, "wrong", SECRET + "x", admin, worker)
    ]

    assert answers == [(401, "missing")] + 4 * [(401, "enrolment_secret")]


async def test_a_wrong_secret_is_not_said_back(world: World) -> None:
    reply = await world.call("POST", "/v1/workers", token="hunter2hunter2", data=ENROLMENT)

    assert b"hunter2" not in reply.body
    assert SECRET.encode() not in reply.body


async def test_an_enrolment_brings_a_token_that_opens_reports(world: World) -> None:
    enrolled = await world.enrol()

    reply = await world.call(
        "PUT", f"/v1/workers/{enrolled['worker_id']}/status", token=enrolled["token"], data=STATUS
    )

    assert (reply.status, reply.json["desired"], reply.json["token"]) == (200, "run", None)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("name", ""),
        ("name", "a/b"),
        ("name", "a\x00b"),
        ("name", "x" * 201),
        ("slots", 0),
        ("slots", "two"),
        ("pid", 2**70),
        ("labels", {"": "x"}),
        ("labels", ["os"]),
        ("host", "h" * 256),
    ],
)
async def test_an_enrolment_with_a_mistake_is_refused_by_name_of_the_field(
    world: World, field: str, value: object
) -> None:
    body = json.loads(ENROLMENT) | {field: value}

    reply = await world.call("POST", "/v1/workers", token=SECRET, data=json.dumps(body))

    assert (reply.status, reply.json["code"]) == (400, "bad_request")
    assert reply.json["message"].startswith(field)
    assert (await world.service.list_workers()).workers == ()


# -- reports ------------------------------------------------------------------------------------


async def test_a_worker_reports_for_itself_only(world: World) -> None:
    one = await world.enrol()
    path = f"/v1/workers/{one['worker_id']}/status"
    stranger = world.minter.worker(world.runtime.new_id())  # type: ignore[arg-type]  # any id
    execution = world.minter.execution(one["worker_id"], world.runtime.new_id(), 1)  # type: ignore[arg-type]

    answers = [
        check_of(await world.call("PUT", path, token=token, data=STATUS))
        for token in (None, stranger, execution, world.client(Role.ADMIN), SECRET)
    ]

    assert answers == [
        (401, "missing"),
        (403, "subject"),
        (403, "audience"),
        (403, "scope"),
        (401, "malformed"),
    ]


async def test_an_old_token_is_replaced_and_a_young_one_is_not(world: World) -> None:
    enrolled = await world.enrol()
    path = f"/v1/workers/{enrolled['worker_id']}/status"

    await world.runtime.advance(WORKER_S / 2 - 1)
    young = await world.call("PUT", path, token=enrolled["token"], data=STATUS)
    await world.runtime.advance(1)
    old = await world.call("PUT", path, token=enrolled["token"], data=STATUS)
    fresh = await world.call("PUT", path, token=old.json["token"], data=STATUS)

    assert young.json["token"] is None
    assert old.json["token"] not in (None, enrolled["token"])
    assert (fresh.status, fresh.json["token"]) == (200, None)


async def test_an_expired_token_opens_nothing(world: World) -> None:
    enrolled = await world.enrol()

    await world.runtime.advance(WORKER_S)
    reply = await world.call(
        "PUT", f"/v1/workers/{enrolled['worker_id']}/status", token=enrolled["token"], data=STATUS
    )

    assert check_of(reply) == (401, "expired")


@pytest.mark.parametrize(
    "change",
    [{"status": "sleeping"}, {"status": "offline"}, {"free_slots": -1}, {"incarnation": 1.5}],
)
async def test_a_report_with_a_mistake_changes_nothing(
    world: World, change: dict[str, object]
) -> None:
    enrolled = await world.enrol()

    reply = await world.call(
        "PUT",
        f"/v1/workers/{enrolled['worker_id']}/status",
        token=enrolled["token"],
        data=json.dumps(json.loads(STATUS) | change),
    )

    (view,) = (await world.service.list_workers()).workers
    assert (reply.status, view.free_slots) == (400, 0)


async def test_a_worker_says_goodbye_for_itself_only(world: World) -> None:
    enrolled = await world.enrol()
    path = f"/v1/workers/{enrolled['worker_id']}/leave"
    stranger = world.minter.worker(world.runtime.new_id())  # type: ignore[arg-type]  # any id
    body = '{"incarnation":1}'

    refused = await world.call("POST", path, token=stranger, data=body)
    absurd = await world.call(
        "POST", path, token=enrolled["token"], data=f'{{"incarnation":{2**80}}}'
    )
    taken = await world.call("POST", path, token=enrolled["token"], data=body)

    assert check_of(refused) == (403, "subject")
    assert (absurd.status, taken.status) == (400, 200)


# -- people -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "path", "needed"),
    [
        ("GET", "/v1/workers", Role.VIEWER),
        ("POST", "/v1/workers/quick/drain", Role.OPERATOR),
        ("POST", "/v1/workers/quick/pause", Role.OPERATOR),
        ("POST", "/v1/workers/quick/resume", Role.OPERATOR),
        ("POST", "/v1/workers/quick/stop", Role.OPERATOR),
        ("DELETE", "/v1/workers/quick", Role.OPERATOR),
    ],
)
async def test_a_door_for_people_opens_from_a_role_on(
    world: World, method: str, path: str, needed: Role
) -> None:
    enrolled = await world.enrol()

    for token in (None, enrolled["token"], SECRET):
        closed = await world.call(method, path, token=token, data=WISH)
        assert closed.status in (401, 403)
    for role in Role:
        reply = await world.call(method, path, token=world.client(role), data=WISH)
        assert (reply.status == 403) == (not role.includes(needed)), role


@pytest.mark.parametrize(
    "body", ["{}", '{"reason": ""}', '{"reason": "x", "deadline_s": -1}', "[", "null"]
)
async def test_a_wish_without_a_good_reason_is_refused(world: World, body: str) -> None:
    await world.enrol()

    reply = await world.call(
        "POST", "/v1/workers/quick/drain", token=world.client(Role.OPERATOR), data=body
    )

    (view,) = (await world.service.list_workers()).workers
    assert (reply.status, view.desired) == (400, "run")


async def test_health_needs_no_token(world: World) -> None:
    assert (await world.call("GET", "/healthz")).status == 200
    assert (await world.call("GET", "/readyz")).status == 200


async def test_a_registry_whose_disk_broke_is_alive_but_neither_ready_nor_trusted(
    world: World, tmp_path: Path
) -> None:
    enrolled = await world.enrol()
    with closing(sqlite3.connect(tmp_path / "registry.db")) as other:
        other.execute("DROP TABLE worker")
    await world.call("POST", "/v1/workers", token=SECRET, data=ENROLMENT)

    answers = [
        (await world.call("GET", "/healthz")).status,
        (await world.call("GET", "/readyz")).status,
        (
            await world.call(
                "PUT",
                f"/v1/workers/{enrolled['worker_id']}/status",
                token=enrolled["token"],
                data=STATUS,
            )
        ).status,
    ]

    assert answers == [200, 503, 503]


# -- on a line ----------------------------------------------------------------------------------


def a_report(worker_id: str) -> bytes:
    return json.dumps({"worker_id": worker_id, **json.loads(STATUS)}).encode()


async def test_a_line_takes_reports_of_workers_for_themselves(world: World) -> None:
    one = await world.enrol()
    mine, bens = one["token"], world.minter.worker(WorkerId("w-ben"))
    async with line_to(world.call, bens) as line:
        said = await line.ask("report", a_report(one["worker_id"]), mine)
        bens_lie = await line.ask("report", a_report(one["worker_id"]), bens)
        nobodys = await line.ask("report", a_report(one["worker_id"]), None)

    assert (said.json["desired"], said.json["token"]) == ("run", None)
    assert bens_lie.check == ("forbidden", "subject")
    assert nobodys.check == ("unauthenticated", "missing")


async def test_a_report_on_a_line_brings_a_fresh_token_when_the_old_one_has_aged(
    world: World,
) -> None:
    one = await world.enrol()
    await world.runtime.advance(WORKER_S / 2)
    async with line_to(world.call, one["token"]) as line:
        said = await line.ask("report", a_report(one["worker_id"]), one["token"])

    assert said.json["token"] not in (None, one["token"])


async def test_the_registrys_line_opens_to_workers_only(world: World) -> None:
    for token in (None, SECRET, world.client(Role.ADMIN), world.minter.service("gateway")):
        with pytest.raises(aiohttp.WSServerHandshakeError) as turned_away:
            async with line_to(world.call, token):
                pass
        assert turned_away.value.status in (401, 403)
