"""People's verbs at the job service: who may what, and what bad input gets."""

import asyncio
import base64
import io
import json
from collections.abc import AsyncIterator

import pytest

from jobstore.app import build_app
from jobstore.routes import SUBMIT_BYTES
from shared.ids import RunId, WorkerId
from shared.protocol import jobs as j
from shared.protocol.jobs import RunFilter
from shared.protocol.pipeline import JobSpec, PipelineSpec
from shared.tokens import Minter, Role, Verifier
from tests.support.asks import ANN, a_claim, a_finish
from tests.support.asks import a_run as a_start
from tests.support.carriers import KEY
from tests.support.execution import MemoryExecution
from tests.support.fake_jobs import FakeJobs
from tests.support.http import Caller, serving
from tests.support.runtime import ManualRuntime

SUBMIT = b'{"pipeline":{"name":"demo","jobs":[{"id":"one","command":"true"}]}}'
EVENTS = {"Accept": "text/event-stream"}


@pytest.fixture
def runtime() -> ManualRuntime:
    return ManualRuntime()


@pytest.fixture
def minter(runtime: ManualRuntime) -> Minter:
    return Minter(KEY, runtime)


@pytest.fixture
def jobs(runtime: ManualRuntime) -> FakeJobs:
    return FakeJobs(runtime)


@pytest.fixture
async def call(jobs: FakeJobs, runtime: ManualRuntime) -> AsyncIterator[Caller]:
    async with serving(
        build_app(jobs, Verifier(KEY.public_key(), runtime), MemoryExecution())
    ) as caller:
        yield caller


@pytest.fixture
def ann(minter: Minter) -> str:
    return minter.client("ann", Role.ADMIN)


async def a_run(jobs: FakeJobs) -> RunId:
    pipeline = PipelineSpec(name="demo", jobs=(JobSpec(id="one", command="true"),))
    reply = await jobs.submit(j.SubmitRequest(idempotency_key="made", pipeline=pipeline))
    return reply.run_id


# -- who may what -----------------------------------------------------------------------------

READS = [
    "/v1/runs",
    "/v1/runs/1",
    "/v1/runs/1/events",
    "/v1/runs/1/artifacts",
    "/v1/runs/1/jobs/one/artifacts",
    "/v1/runs/1/jobs/one/artifacts/x",
    "/v1/runs/1/jobs/one/attempts",
    "/v1/runs/1/jobs/one/log",
]
WRITES = ["/v1/runs", "/v1/runs/1/cancel", "/v1/runs/1/retry"]
DECISIONS = ["/v1/runs/1/jobs/one/approve", "/v1/runs/1/jobs/one/mark"]


@pytest.mark.parametrize(
    ("method", "path"),
    [*(("GET", p) for p in READS), *(("POST", p) for p in (*WRITES, *DECISIONS))],
)
async def test_only_a_client_token_opens(
    call: Caller, minter: Minter, method: str, path: str
) -> None:
    nobody = await call(method, path)
    gateway = await call(method, path, token=minter.service("gateway"))
    worker = await call(method, path, token=minter.worker(WorkerId("w")))

    assert (nobody.status, nobody.json["facts"]["check"]) == (401, "missing")
    assert (gateway.status, gateway.json["facts"]["check"]) == (403, "scope")
    assert (worker.status, worker.json["facts"]["check"]) == (403, "audience")


@pytest.mark.parametrize("path", WRITES)
async def test_a_viewer_changes_nothing(
    call: Caller, minter: Minter, jobs: FakeJobs, path: str
) -> None:
    await a_run(jobs)
    viewer = minter.client("vic", Role.VIEWER)

    answer = await call("POST", path, token=viewer, data=SUBMIT, headers={"Idempotency-Key": "k"})

    assert answer.status == 403
    assert answer.json["facts"] == {"check": "role", "needed": "submitter"}
    assert len((await jobs.list_runs(RunFilter(limit=10))).runs) == 1


@pytest.mark.parametrize("path", DECISIONS)
async def test_only_an_operator_decides_about_jobs(
    call: Caller, minter: Minter, jobs: FakeJobs, path: str
) -> None:
    await a_run(jobs)

    answer = await call("POST", path, token=minter.client("sam", Role.SUBMITTER), data=b"{}")

    assert answer.status == 403
    assert answer.json["facts"] == {"check": "role", "needed": "operator"}
    assert jobs.decided_by == []


async def test_who_decided_is_whose_token_it_is(
    call: Caller, minter: Minter, jobs: FakeJobs
) -> None:
    await a_run(jobs)
    operator = minter.client("olga", Role.OPERATOR)

    answer = await call("POST", DECISIONS[1], token=operator, data=b'{"by": "somebody else"}')

    assert answer.status == 200
    assert jobs.decided_by == ["olga"]


@pytest.mark.parametrize("path", READS)
async def test_a_viewer_reads(call: Caller, minter: Minter, jobs: FakeJobs, path: str) -> None:
    await a_run(jobs)

    answer = await call("GET", path, token=minter.client("vic", Role.VIEWER))

    assert answer.status == (404 if path.endswith("/x") else 200)


@pytest.mark.parametrize("verb", ["run", "finish", "refuse", "heartbeat"])
async def test_people_cannot_speak_for_workers(call: Caller, ann: str, verb: str) -> None:
    answer = await call(
        "POST", f"/v1/attempts/a/{verb}", token=ann, headers={"Drawbar-Worker": "w"}, data=b"{}"
    )

    assert (answer.status, answer.json["facts"]["check"]) == (403, "scope")


async def test_health_needs_no_token(call: Caller) -> None:
    assert (await call("GET", "/healthz")).status == 200
    assert (await call("GET", "/readyz")).status == 200


# -- bad input --------------------------------------------------------------------------------


async def test_a_submit_is_201_and_its_key_is_remembered(call: Caller, ann: str) -> None:
    headers = {"Idempotency-Key": "k"}

    first = await call("POST", "/v1/runs", token=ann, data=SUBMIT, headers=headers)
    again = await call("POST", "/v1/runs", token=ann, data=SUBMIT, headers=headers)

    assert first.status == 201
    assert first.json == again.json == {"run_id": 1}


@pytest.mark.parametrize("key", [None, "", "k" * 201, "é", "a\tb"])
async def test_a_submit_needs_a_usable_key(
    call: Caller, ann: str, jobs: FakeJobs, key: str | None
) -> None:
    headers = {} if key is None else {"Idempotency-Key": key}

    answer = await call("POST", "/v1/runs", token=ann, data=SUBMIT, headers=headers)

    assert answer.status == 400
    assert (await jobs.list_runs(RunFilter(limit=1))).runs == ()


@pytest.mark.parametrize(
    ("pipeline", "field"),
    [
        ({}, "pipeline.name"),
        ({"name": "x", "jobs": []}, "pipeline.jobs"),
        ({"name": "x", "jobs": [{"id": "a"}]}, "pipeline.jobs.0"),
        ({"name": "x", "jobs": [{"id": "a", "command": "x", "typo": 1}]}, "pipeline.jobs.0.typo"),
        ({"name": "a/b", "jobs": [{"id": "a", "command": "x"}]}, "pipeline.name"),
        ({"name": "x", "jobs": [{"id": "a", "command": "x\0y"}]}, "pipeline.jobs.0.command"),
        ({"name": "x", "jobs": [{"id": "a", "command": "x", "timeout_s": float("nan")}]}, ""),
        ({"name": "x", "jobs": [{"id": "a", "command": "x", "priority": 2**80}]}, ""),
    ],
)
async def test_a_bad_pipeline_names_the_field_and_stores_nothing(
    call: Caller, ann: str, jobs: FakeJobs, pipeline: object, field: str
) -> None:
    answer = await call(
        "POST",
        "/v1/runs",
        token=ann,
        data=json.dumps({"pipeline": pipeline}).encode(),
        headers={"Idempotency-Key": "k"},
    )

    assert answer.status == 400
    assert any(m["field"].startswith(field) for m in answer.json["facts"]["mistakes"])
    assert (await jobs.list_runs(RunFilter(limit=1))).runs == ()


async def test_a_submit_may_be_larger_than_other_messages_but_not_endless(
    call: Caller, ann: str
) -> None:
    headers = {"Idempotency-Key": "k"}
    padded = SUBMIT[:-1] + b" " * 9_000_000 + b"}"
    endless = io.BytesIO(b" " * (SUBMIT_BYTES + 1))

    large = await call("POST", "/v1/runs", token=ann, data=io.BytesIO(padded), headers=headers)
    too_large = await call("POST", "/v1/runs", token=ann, data=endless, headers=headers)

    assert large.status == 201
    assert too_large.status == 413


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/v1/runs/0", 404),
        ("/v1/runs/-1", 404),
        ("/v1/runs/abc", 404),
        ("/v1/runs/99999999999999999999", 404),
        ("/v1/runs/%D9%A1", 404),  # an Arabic one
        ("/v1/runs?limit=0", 400),
        ("/v1/runs?limit=all", 400),
        ("/v1/runs?limit=99999999999999999999", 400),
        ("/v1/runs?before=99999999999999999999", 400),
        ("/v1/runs/1/events?after=-1", 400),
        ("/v1/runs/1/events?limit=1000000", 400),
        ("/v1/runs/1/jobs/one/log?offset=x", 400),
        ("/v1/runs/1/jobs/one/log?follow=maybe", 400),
        ("/v1/runs/1/jobs/one/log?attempt=%00", 400),
        ("/v1/runs/1/jobs/one/log?attempt=nobody", 404),
        ("/v1/runs/1/jobs/%FF/log", 404),
        ("/v1/runs/1/jobs/%ED%A0%80/attempts", 404),
        ("/v1/runs/1/jobs/%00/attempts", 404),
        ("/v1/runs/1/jobs/one/artifacts/%2E%2E/%2E%2E/etc/passwd", 400),
        ("/v1/runs/1/jobs/one/artifacts/%2Fetc%2Fpasswd", 400),
        ("/v1/runs/1/jobs/one/artifacts/a%00b", 400),
        ("/v1/runs/2/events", 404),
    ],
)
async def test_a_bad_question_gets_a_clear_error(
    call: Caller, ann: str, jobs: FakeJobs, path: str, status: int
) -> None:
    await a_run(jobs)

    answer = await call("GET", path, token=ann)

    assert answer.status == status
    assert answer.json["message"]


@pytest.mark.parametrize(
    "path", ["/v1/runs/9/events", "/v1/runs/9/jobs/one/log", "/v1/runs/1/jobs/no/log?follow=1"]
)
async def test_what_cannot_be_followed_is_an_ordinary_error(
    call: Caller, ann: str, jobs: FakeJobs, path: str
) -> None:
    await a_run(jobs)

    assert (await call("GET", path, token=ann, headers=EVENTS)).status == 404


async def test_an_empty_cancel_cancels_the_run(call: Caller, ann: str, jobs: FakeJobs) -> None:
    run_id = await a_run(jobs)

    answer = await call("POST", f"/v1/runs/{run_id}/cancel", token=ann)

    assert answer.status == 200
    assert (await jobs.show_run(run_id)).jobs[0].status == "cancelled"


# -- streams ----------------------------------------------------------------------------------


async def test_events_are_sent_as_the_standard_says(call: Caller, ann: str, jobs: FakeJobs) -> None:
    run_id = await a_run(jobs)
    await jobs.cancel(j.CancelRequest(run_id=run_id))

    answer = await call("GET", f"/v1/runs/{run_id}/events", token=ann, headers=EVENTS)

    blocks = [block for block in answer.body.decode().split("\n\n") if block.startswith("id")]
    assert answer.headers["Content-Type"] == "text/event-stream"
    assert [block.split("\n")[:2] for block in blocks] == [
        ["id: 1", "event: run.submitted"],
        ["id: 2", "event: job.cancelled"],
    ]


async def test_a_reader_that_comes_back_goes_on_after_the_last_event_it_saw(
    call: Caller, ann: str, jobs: FakeJobs
) -> None:
    run_id = await a_run(jobs)
    await jobs.cancel(j.CancelRequest(run_id=run_id))

    answer = await call(
        "GET", f"/v1/runs/{run_id}/events", token=ann, headers=EVENTS | {"Last-Event-ID": "1"}
    )

    assert b"id: 2\n" in answer.body
    assert b"id: 1\n" not in answer.body


async def test_a_quiet_stream_shows_that_it_is_alive(
    call: Caller, ann: str, jobs: FakeJobs, runtime: ManualRuntime
) -> None:
    run_id = await a_run(jobs)

    async def when_asleep() -> None:
        for _ in range(3):
            await runtime.until_asleep()
            await runtime.advance(10)
        await jobs.cancel(j.CancelRequest(run_id=run_id))

    async with asyncio.timeout(5), asyncio.TaskGroup() as group:
        group.create_task(when_asleep())
        answer = await call("GET", f"/v1/runs/{run_id}/events", token=ann, headers=EVENTS)

    assert answer.body.count(b": alive\n\n") >= 3


async def test_a_log_as_events_is_base64(call: Caller, ann: str, jobs: FakeJobs) -> None:
    run_id = await a_run(jobs)
    claim = (await jobs.claim(a_claim(ANN, "c"))).claims[0]
    await jobs.run(a_start(claim))
    await jobs.finish(a_finish(claim, log=b"\xff\n\n"))
    path = f"/v1/runs/{run_id}/jobs/one/log?follow=true"

    events = await call("GET", path, token=ann, headers=EVENTS)
    plain = await call("GET", path, token=ann)

    assert b"data: " + base64.b64encode(b"\xff\n\n") + b"\n\n" in events.body
    assert plain.body == b"\xff\n\n"
