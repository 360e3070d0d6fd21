"""The OpenAPI 3.1 document of an application, made of its own router and models.

A route of which no operation is said is a mistake: `describe_app` raises, and a test asks it to.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from http import HTTPStatus
from inspect import cleandoc
from typing import Any, Final

from aiohttp import web
from pydantic import BaseModel
from pydantic.json_schema import JsonSchemaMode, models_json_schema

from shared.errors import (
    BadRequest,
    Forbidden,
    NotFound,
    Overloaded,
    ServiceError,
    StoreFailed,
    TooLarge,
    Unauthenticated,
    Unavailable,
    UnsupportedVersion,
)
from shared.http.operation import Content, Key, Operation, operation_of
from shared.http.wire import WORKER

Json = dict[str, Any]

_REF: Final = "#/components/schemas/{model}"
_ALWAYS: Final = (BadRequest, UnsupportedVersion, Overloaded, Unavailable, StoreFailed)
_STEP: Final = re.compile(r"\{(\w+)\}")

_NUMBER: Final = {"type": "integer", "minimum": 0, "maximum": 10**18 - 1}
_ID: Final = {"type": "string", "pattern": "^[ -.0-~]{1,100}$"}
_NAME: Final = {"type": "string", "minLength": 1, "maxLength": 200, "pattern": "^[^\\x00-\\x1f/]+$"}
_STEPS: Final[dict[str, Json]] = {
    "run_id": _NUMBER,
    "before": _NUMBER,
    "after": _NUMBER,
    "backfill_id": _NUMBER,
    "attempt_id": _ID,
    "component_id": _ID,
    "worker_id": _ID,
    "callback_id": _ID,
    "secret": _ID,
    "job_id": _NAME,
    "job": _NAME,
    "key": _NAME,
    "name": _NAME,
    "sha256": {"type": "string", "pattern": "^[0-9a-f]{64}$"},
    # Steps of 1 to 100 characters, none of them dots alone: what every service takes for a path.
    "path": {
        "type": "string",
        "pattern": "^[A-Za-z0-9_-][A-Za-z0-9._ -]{0,99}(/[A-Za-z0-9_-][A-Za-z0-9._ -]{0,99}){0,7}$",
    },
}
_SHOWN: Final = {
    Key.PERSON: "A client token (`drawbar token`), which carries a role.",
    Key.WORKER: "A worker's token, or that of its attempt.",
    Key.TASK: "The execution token of a running attempt.",
    Key.ENROLMENT: "The installation's enrolment secret.",
}
_ERROR: Final = {
    "type": "object",
    "description": "Why it failed. `code` is for programs, `message` for people.",
    "properties": {
        "code": {"type": "string"},
        "message": {"type": "string"},
        "facts": {"type": "object"},
        "retryable": {"type": "boolean"},
    },
    "required": ["code", "message", "facts", "retryable"],
}


@dataclass(frozen=True, slots=True)
class About:
    """Whose document it is. `through_gateway`: workers are asked for by a gateway."""

    service: str
    says: str = ""
    through_gateway: bool = False


@dataclass(frozen=True, slots=True)
class Route:
    method: str
    path: str
    operation: Operation
    name: str
    says: str


def routes_of(app: web.Application) -> list[Route]:
    """Every route. AssertionError: of one, nothing was said."""
    found = []
    for route in app.router.routes():
        assert route.resource is not None
        said = operation_of(route.handler)
        assert said is not None, f"{route.method} {route.resource.canonical} is not described"
        name = said.name or getattr(route.handler, "__name__", "")
        is_head = route.method == "HEAD"
        says = said.says or cleandoc(getattr(route.handler, "__doc__", None) or "")
        found.append(
            Route(
                route.method.lower(),
                route.resource.canonical,
                said,
                f"{name}_head" if is_head else name,
                says,
            )
        )
    return sorted(found, key=lambda route: (route.path, route.method))


def describe_app(app: web.Application, about: About) -> Json:
    """The whole document, the same for the same code."""
    routes = routes_of(app)
    refs, schemas = _schemas(routes)
    paths: dict[str, Json] = {}
    for route in routes:
        paths.setdefault(route.path, {})[route.method] = _describe_one(route, about, refs)
    keys = sorted({route.operation.key for route in routes} - {Key.NOBODY})
    return {
        "openapi": "3.1.0",
        "info": {"title": f"drawbar {about.service}", "version": "1", "description": about.says},
        "paths": paths,
        "components": {
            "schemas": dict(sorted({**schemas, "Error": _ERROR}.items())),
            "securitySchemes": {
                key.value: {
                    "type": "http",
                    "scheme": "bearer",
                    "description": _SHOWN[key]
                    if key is not Key.WORKER or not about.through_gateway
                    else f"A gateway's service token; {WORKER} says for which worker.",
                }
                for key in keys
            },
        },
    }


_Refs = dict[tuple[Any, JsonSchemaMode], Json]  # of a model, and which way it goes


def _schemas(routes: Iterable[Route]) -> tuple[_Refs, Json]:
    wanted: dict[tuple[type[BaseModel], JsonSchemaMode], None] = {}
    for route in routes:
        said = route.operation
        if not isinstance(said.body, Content):
            wanted[said.body, "validation"] = None
        for reply in said.replies.values():
            for body in reply if isinstance(reply, tuple) else (reply,):
                if not isinstance(body, Content):
                    wanted[body, "serialization"] = None
    refs, whole = models_json_schema(list(wanted), ref_template=_REF)
    return dict(refs), _closed(whole.get("$defs", {}))


def _closed(node: Any) -> Any:
    """The schemas, with nothing let in beside keys that have a pattern, as the models do it."""
    if isinstance(node, list):
        return [_closed(one) for one in node]
    if not isinstance(node, dict):
        return node
    closed = {key: _closed(value) for key, value in node.items()}
    if isinstance(closed.get("patternProperties"), dict):
        closed.setdefault("additionalProperties", False)
    return closed


def _describe_one(route: Route, about: About, refs: _Refs) -> Json:
    said = route.operation
    found: Json = {"operationId": route.name, "description": route.says}
    if parameters := list(_parameters(route, about)):
        found["parameters"] = parameters
    if said.body is not Content.NONE:
        found["requestBody"] = {
            "required": True,
            "content": _content(said.body, refs, "validation"),
        }
    found["responses"] = _responses(route, refs)
    found["security"] = (
        [] if said.key is Key.NOBODY else [{said.key.value: [said.role.value] if said.role else []}]
    )
    return found


def _parameters(route: Route, about: About) -> Iterator[Json]:
    said = route.operation
    for step in _STEP.findall(route.path):
        schema = said.paths.get(step, _STEPS[step])
        yield {"name": step, "in": "path", "required": True, "schema": dict(schema)}
    if said.query is not None:
        model = said.query.model_json_schema()
        for name, schema in model["properties"].items():
            plain = {key: value for key, value in schema.items() if key != "title"}
            plain = _without_null(_resolved(plain, model.get("$defs", {})))
            is_required = name in model.get("required", ())
            yield {"name": name, "in": "query", "required": is_required, "schema": plain}
    for given in said.given:
        yield {
            "name": given.name,
            "in": given.where,
            "required": given.is_required,
            "schema": dict(given.schema),
        }
    if said.key is Key.WORKER and about.through_gateway:
        yield {"name": WORKER, "in": "header", "required": True, "schema": dict(_ID)}


def _resolved(schema: Json, known: Json) -> Json:
    """Without references: a parameter's schema is small."""
    if "$ref" in schema:
        return _resolved(known[schema["$ref"].rpartition("/")[2]], known)
    if "anyOf" in schema:
        return {**schema, "anyOf": [_resolved(one, known) for one in schema["anyOf"]]}
    return schema


def _without_null(schema: Json) -> Json:
    """A query has no null: what may be None may be left out."""
    kinds = [one for one in schema.get("anyOf", ()) if one.get("type") != "null"]
    if len(kinds) == 1:
        return {key: value for key, value in kinds[0].items() if key != "title"}
    return schema


def _responses(route: Route, refs: _Refs) -> Json:
    said = route.operation
    found: Json = {}
    for status, reply in said.replies.items():
        one: Json = {"description": HTTPStatus(status).phrase}
        bodies = reply if isinstance(reply, tuple) else (reply,)
        content: Json = {}
        for body in bodies:
            content |= _content(body, refs, "serialization")
        if content and route.method != "head":
            one["content"] = content
        if said.reply_headers:
            one["headers"] = {name: {"schema": {"type": "string"}} for name in said.reply_headers}
        found[str(status)] = one
    for status, errors in _errors(route).items():
        codes = sorted({error.code for error in errors})
        found[str(status)] = {
            "description": " ".join(sorted({_first_line(error) for error in errors})),
        }
        if route.method != "head":
            found[str(status)]["content"] = {
                "application/json": {
                    "schema": {
                        "$ref": _REF.format(model="Error"),
                        "properties": {"code": {"enum": codes}},
                    }
                }
            }
    return dict(sorted(found.items()))


def _errors(route: Route) -> dict[int, list[type[ServiceError]]]:
    said = route.operation
    errors: list[type[ServiceError]] = [*_ALWAYS, *said.errors]
    if said.key is not Key.NOBODY:
        errors += [Unauthenticated, Forbidden]
    if said.body is not Content.NONE:
        errors.append(TooLarge)
    if "{" in route.path:
        errors.append(NotFound)  # also: what fits no route
    by_status: dict[int, list[type[ServiceError]]] = {}
    for error in dict.fromkeys(errors):
        by_status.setdefault(error.status, []).append(error)
    return by_status


def _first_line(error: type[ServiceError]) -> str:
    return (error.__doc__ or error.code).strip().splitlines()[0]


def _content(body: type[BaseModel] | Content, refs: _Refs, mode: JsonSchemaMode) -> Json:
    match body:
        case Content.NONE:
            return {}
        case Content.EMPTY:
            return {"application/json": {"schema": {"type": "object", "maxProperties": 0}}}
        case Content.ANY:
            return {"application/json": {"schema": {}}}
        case Content.BYTES:
            return {body.value: {"schema": {"type": "string", "format": "binary"}}}
        case Content.EVENTS:
            return {body.value: {"schema": {"type": "string"}}}
        case _:
            return {"application/json": {"schema": refs[body, mode]}}
