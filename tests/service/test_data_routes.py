"""The execution API as resources: what an execution token opens by paths at the gateway."""

import json
from typing import Any

import pytest

from shared.errors import BadRequest, Forbidden, ServiceError, Unauthenticated, UnknownVariable
from shared.ids import AttemptId, JobId, WorkerId
from shared.protocol import execution as e
from shared.protocol.gateway import DependencyResult
from shared.protocol.states import JobStatus
from shared.tokens import Role
from tests.service.test_execution_routes import SCOPE, Way, way

__all__ = ["way"]  # the fixture

DEPENDENCIES = f"/v1/attempts/{SCOPE.attempt_id}/dependencies"


async def call(way: Way, verb: str, path: str, body: Any = None, token: str = "") -> Any:
    sent = None if body is None else json.dumps(body).encode()
    used = token or way.tokens[SCOPE.attempt_id]
    return json.loads((await way.door.request(verb, path, sent, token=used)).body)


async def test_variables_have_paths(way: Way) -> None:
    await call(way, "PUT", "/v1/variables/a%20b", {"value": "1", "is_secret": True})

    assert await call(way, "GET", "/v1/variables/a%20b") == {
        "key": "a b",
        "value": "1",
        "is_secret": True,
    }
    assert await call(way, "GET", "/v1/variables?prefix=a&limit=1") == {"keys": ["a b"]}
    await call(way, "DELETE", "/v1/variables/a%20b")
    with pytest.raises(UnknownVariable):
        await call(way, "GET", "/v1/variables/a%20b")


async def test_connections_have_paths(way: Way) -> None:
    await call(way, "PUT", "/v1/connections/db", {"kind": "postgres", "password": "hunter22"})

    found = await call(way, "GET", "/v1/connections/db")

    assert (found["name"], found["kind"], found["password"]) == ("db", "postgres", "hunter22")
    assert await call(way, "GET", "/v1/connections") == {"keys": ["db"]}
    await call(way, "DELETE", "/v1/connections/db")
    assert way.execution.connections == {}


async def test_xcoms_have_paths_with_items_and_slices(way: Way) -> None:
    way.execution.xcoms["other", "k"] = [1, 2, 3]
    await call(way, "PUT", "/v1/xcoms/-/mine", {"value": {"a": None}})

    async def get(query: str) -> Any:
        return await call(way, "GET", f"/v1/xcoms/other/k{query}")

    assert await get("") == {"value": [1, 2, 3], "is_found": True}
    assert await get("?count=true") == {"count": 3}
    assert (await get("?index=-1"))["value"] == 3
    assert await get("?start=1") == {"values": [2, 3], "next_start": None}
    assert await call(way, "GET", "/v1/xcoms/other") == {"keys": ["k"]}
    assert (await call(way, "GET", "/v1/xcoms/-/mine"))["value"] == {"a": None}
    await call(way, "DELETE", "/v1/xcoms/-/mine")
    assert (await call(way, "GET", "/v1/xcoms/-/mine"))["is_found"] is False


async def test_a_task_writes_xcoms_of_its_own_only(way: Way) -> None:
    for verb, body in (("PUT", {"value": 1}), ("DELETE", None)):
        with pytest.raises(Forbidden) as caught:
            await call(way, verb, "/v1/xcoms/other/k", body)
        assert caught.value.facts["check"] == "job"


async def test_dependencies_have_a_path(way: Way) -> None:
    way.execution.dependencies = [
        DependencyResult(job_id=JobId("a"), status=JobStatus.SUCCESS, exit_code=0)
    ]

    found = await call(way, "GET", DEPENDENCIES)

    assert found == {"dependencies": [{"job_id": "a", "status": "success", "exit_code": 0}]}
    assert way.execution.scopes == {SCOPE}


async def test_dependencies_of_another_attempt_are_not_shown(way: Way) -> None:
    with pytest.raises(Forbidden) as caught:
        await call(way, "GET", "/v1/attempts/a-2/dependencies")

    assert caught.value.facts["check"] == "attempt"


@pytest.mark.parametrize(
    ("kind", "error", "check"),
    [
        ("none", Unauthenticated, "missing"),
        ("garbage", Unauthenticated, "malformed"),
        ("workload", Forbidden, "scope"),
        ("worker", Forbidden, "scope"),
        ("client", Forbidden, "scope"),
        ("service", Forbidden, "audience"),
    ],
)
@pytest.mark.parametrize(
    ("verb", "path"),
    [
        ("GET", "/v1/variables"),
        ("GET", "/v1/variables/k"),
        ("PUT", "/v1/connections/k"),
        ("GET", "/v1/xcoms/a/k"),
        ("GET", DEPENDENCIES),
    ],
)
async def test_other_tokens_open_nothing_and_hear_which_check_failed(
    way: Way, verb: str, path: str, kind: str, error: type[ServiceError], check: str
) -> None:
    worker, attempt = WorkerId("ann"), AttemptId(SCOPE.attempt_id)
    token = {
        "none": None,
        "garbage": "x.y.z",
        "workload": way.minter.workload(worker, attempt, 3),
        "worker": way.minter.worker(worker),
        "client": way.minter.client("eve", Role.ADMIN),
        "service": way.minter.service("gateway"),
    }[kind]

    with pytest.raises(error) as caught:
        await way.door.request(verb, path, None, token=token)

    assert caught.value.facts["check"] == check
    assert way.execution.asked == []


async def test_a_query_that_means_nothing_is_a_bad_request(way: Way) -> None:
    for path in ("/v1/variables?limit=many", "/v1/xcoms/a/k?index=x", "/v1/xcoms/a/k?count=2"):
        with pytest.raises(BadRequest):
            await call(way, "GET", path)


async def test_a_body_that_says_no_value_is_a_bad_request(way: Way) -> None:
    for path in ("/v1/variables/k", "/v1/xcoms/-/k"):
        with pytest.raises(BadRequest, match="value"):
            await call(way, "PUT", path, {})
    assert way.execution.variables == {}
    assert (await way.client.list_xcoms(SCOPE, e.ListXComs())).keys == ()
