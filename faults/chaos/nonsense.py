"""Requests that must be turned away, with an error of the contract, and change nothing (P10)."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

import aiohttp

from shared.http.wire import KEY

PATIENCE_S: Final = 10.0
JSON: Final = {"Content-Type": "application/json"}
SUBMIT: Final = {**JSON, KEY: "nonsense"}


@dataclass(frozen=True, slots=True)
class Nonsense:
    """One request, and why nobody can want it."""

    name: str
    service: str
    method: str
    path: str
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=lambda: JSON)
    token: str | None = "good"  # None: none at all; anything but `good` goes as it is


NONSENSE: Final = (
    Nonsense("no JSON", "jobstore", "POST", "/v1/runs", b"{nonsense", SUBMIT),
    Nonsense("a bare string", "jobstore", "POST", "/v1/runs", b'"text"', SUBMIT),
    Nonsense("deep JSON", "jobstore", "POST", "/v1/runs", b"[" * 50_000, SUBMIT),
    Nonsense("a pipeline without jobs", "jobstore", "POST", "/v1/runs",
             b'{"name":"nonsense","jobs":[]}', SUBMIT),
    Nonsense("an unknown field", "jobstore", "POST", "/v1/runs",
             b'{"name":"nonsense","jobs":[{"id":"a","command":"true","nonsense":1}]}', SUBMIT),
    Nonsense("a cycle", "jobstore", "POST", "/v1/runs",
             b'{"name":"nonsense","jobs":[{"id":"a","command":"true","needs":["b"]},'
             b'{"id":"b","command":"true","needs":["a"]}]}', SUBMIT),
    Nonsense("a need that is not there", "jobstore", "POST", "/v1/runs",
             b'{"name":"nonsense","jobs":[{"id":"a","command":"true","needs":["z"]}]}', SUBMIT),
    Nonsense("no idempotency key", "jobstore", "POST", "/v1/runs",
             b'{"name":"nonsense","jobs":[{"id":"a","command":"true"}]}'),
    Nonsense("a lone surrogate", "jobstore", "POST", "/v1/runs",
             b'{"name":"\\ud800","jobs":[{"id":"a","command":"true"}]}', SUBMIT),
    Nonsense("no number", "jobstore", "GET", "/v1/runs/nonsense"),
    Nonsense("a run of the far future", "jobstore", "GET", "/v1/runs/9007199254740993"),
    Nonsense("a path that climbs", "jobstore", "GET", "/v1/runs/1/jobs/a/artifacts/..%2f..%2fetc"),
    Nonsense("no token", "jobstore", "GET", "/v1/runs", token=None),
    Nonsense("a forged token", "jobstore", "GET", "/v1/runs", token="e30.e30.e30"),
    Nonsense("no token at the gateway", "gateway", "POST", "/v1/claims", b"{}", token=None),
    Nonsense("a person who claims", "gateway", "POST", "/v1/claims", b"{}"),
    Nonsense("a forged worker", "gateway", "POST", "/v1/heartbeats", b"{}", token="e30.e30.e30"),
    Nonsense("an enrolment without the secret", "registry", "POST", "/v1/workers", b"{}",
             token="wrong"),
    Nonsense("a wish for nobody", "registry", "POST", "/v1/workers/nobody/drain", b"{}"),
    Nonsense("no such path", "registry", "GET", "/v1/nonsense"),
)  # fmt: skip


async def send(case: Nonsense, url: str, token: str) -> tuple[int | None, str]:
    """The answer's status and code; None, and why, when there was no answer."""
    headers = dict(case.headers)
    if case.token is not None:
        headers["Authorization"] = f"Bearer {token if case.token == 'good' else case.token}"
    timeout = aiohttp.ClientTimeout(total=PATIENCE_S)
    try:
        async with (
            aiohttp.ClientSession(timeout=timeout) as session,
            session.request(
                case.method, f"{url}{case.path}", data=case.body, headers=headers
            ) as answer,
        ):
            told = await answer.json(content_type=None)
            return answer.status, str(told.get("code", ""))
    except (aiohttp.ClientError, TimeoutError, ValueError, AttributeError) as error:
        return None, type(error).__name__
