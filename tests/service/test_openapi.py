"""Each service tells at /openapi.json all that can be asked of it, and nothing that is not so."""

import json
from collections.abc import Callable, Generator
from functools import cache
from typing import Any, cast

import jsonschema
import pytest
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

import gateway.app
import jobstore.app
import registry.app
from faults.control import add_fault_routes
from faults.injector import Injector
from shared.errors import NotFound
from shared.http.openapi import About, Json, Route, describe_app, routes_of
from shared.http.operation import Key
from shared.runtime import SystemRuntime
from shared.tokens import RANK, Audience, Minter, Role, Verifier
from tests.support.golden import assert_golden
from tests.support.http import serving

SIGNING = Ed25519PrivateKey.generate()
VERIFIER = Verifier(SIGNING.public_key(), SystemRuntime())
MINTER = Minter(SIGNING, SystemRuntime())
BUILDERS: dict[str, tuple[Callable[..., web.Application], int, About]] = {
    "gateway": (gateway.app.build_app, 3, gateway.app.ABOUT),
    "registry": (registry.app.build_app, 2, registry.app.ABOUT),
    "jobstore": (jobstore.app.build_app, 1, jobstore.app.ABOUT),
}
each_service = pytest.mark.parametrize("service", sorted(BUILDERS))


class Nothing:
    """Behind the routes: whatever is asked of it, there is no such thing."""

    def __getattr__(self, verb: str) -> "Nothing":
        if verb.startswith("__"):
            raise AttributeError(verb)
        return self

    def __call__(self, *_: object, **__: object) -> "Nothing":
        return self

    def __await__(self) -> Generator[Any, Any, bytes]:
        return self.__anext__().__await__()

    def __aiter__(self) -> "Nothing":
        return self

    async def __anext__(self) -> bytes:
        raise NotFound


def an_app(service: str) -> web.Application:
    """Its routes, and behind them nothing."""
    build, others, _ = BUILDERS[service]
    app = build(Nothing(), VERIFIER, *(Nothing() for _ in range(others)))
    add_fault_routes(app, cast(Injector, Nothing()), VERIFIER, Audience(service))
    return app


@cache
def document(service: str) -> Json:
    build, others, about = BUILDERS[service]
    return describe_app(build(Nothing(), VERIFIER, *(Nothing() for _ in range(others))), about)


@each_service
def test_the_document_is_the_golden_one(service: str) -> None:
    assert_golden(f"openapi_{service}.json", json.dumps(document(service), indent=1) + "\n")


@each_service
def test_every_route_is_in_the_document_and_nothing_else(service: str) -> None:
    """Those of fault injection too, where they are."""
    app = an_app(service)
    described = describe_app(app, BUILDERS[service][2])

    routed = {
        (route.method.lower(), route.resource.canonical)
        for route in app.router.routes()
        if route.resource is not None
    }

    assert {(m, path) for path, item in described["paths"].items() for m in item} == routed


def test_a_route_of_which_nothing_is_said_is_a_mistake() -> None:
    async def mute(_: web.Request) -> web.Response:
        return web.Response()

    app = web.Application()
    app.router.add_get("/v1/mute", mute, allow_head=False)

    with pytest.raises(AssertionError, match="GET /v1/mute is not described"):
        describe_app(app, About("test"))


@each_service
def test_names_of_operations_differ(service: str) -> None:
    names = [
        one["operationId"] for item in document(service)["paths"].values() for one in item.values()
    ]

    assert len(names) == len(set(names))


@each_service
def test_every_schema_is_one(service: str) -> None:
    for schema in document(service)["components"]["schemas"].values():
        jsonschema.Draft202012Validator.check_schema(schema)


@each_service
def test_every_reference_leads_somewhere(service: str) -> None:
    schemas = document(service)["components"]["schemas"]

    assert {ref.rpartition("/")[2] for ref in references(document(service))} <= schemas.keys()


@each_service
async def test_the_document_is_served_to_everybody(service: str) -> None:
    build, others, _ = BUILDERS[service]
    app = build(Nothing(), VERIFIER, *(Nothing() for _ in range(others)))

    async with serving(app) as call:
        answer = await call("GET", "/openapi.json")

    assert answer.status == 200
    assert answer.json == document(service)


def guarded() -> list[tuple[str, Route]]:
    """Routes of people, each with its service."""
    return [
        (service, route)
        for service in sorted(BUILDERS)
        for route in routes_of(an_app(service))
        if route.operation.key is Key.PERSON
    ]


async def test_every_route_of_people_wants_the_role_that_the_document_says() -> None:
    """With the role below it the answer is 403; with its own, anything else."""
    wrong = []
    for service in sorted(BUILDERS):
        async with serving(an_app(service)) as call:
            for of, route in guarded():
                if of != service:
                    continue
                assert route.operation.role is not None, route
                for role in Role:
                    path = a_path(route.path)
                    token = MINTER.client("ann", role)
                    answer = await call(route.method.upper(), path, token=token, data=b"[]")
                    may = RANK[role] >= RANK[route.operation.role]
                    if (answer.status == 403) is may:
                        wrong.append((service, route.method, path, role, answer.status))

    assert wrong == []


@each_service
async def test_every_route_but_a_few_wants_a_token(service: str) -> None:
    async with serving(an_app(service)) as call:
        open_to_all = {
            route.path
            for route in routes_of(an_app(service))
            if (await call(route.method.upper(), a_path(route.path), data=b"[]")).status != 401
        }

    public = {"/healthz", "/readyz", "/openapi.json"}
    callbacks = {"/v1/callbacks/{callback_id}/{secret}"} if service == "jobstore" else set()
    assert open_to_all == public | callbacks


def a_path(pattern: str) -> str:
    """One that the pattern fits."""
    return "/".join("1" if step.startswith("{") else step for step in pattern.split("/"))


def references(node: Any) -> set[str]:
    if isinstance(node, dict):
        found = {node["$ref"]} if isinstance(node.get("$ref"), str) else set()
        return found.union(*(references(value) for value in node.values()), set())
    if isinstance(node, list):
        return set().union(*(references(value) for value in node), set())
    return set()
