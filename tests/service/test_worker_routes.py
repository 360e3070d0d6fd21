"""The worker's verbs at the gateway, as careless and broken programs use them."""

import asyncio
from collections.abc import AsyncIterator
from hashlib import sha256

import pytest

from shared.ids import JobId
from shared.protocol.states import JobStatus
from tests.support.entrance import ANN, CLAIM, Entrance
from tests.support.http import Reply


async def test_no_job_is_204_with_its_reason(entrance: Entrance) -> None:
    answer = await entrance.call(
        "POST", "/v1/claims", token=entrance.minter.worker(ANN), data=CLAIM
    )

    assert answer.status == 204
    assert answer.headers["Drawbar-Reason"] == "no_job"
    assert "Retry-After" not in answer.headers


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b'{"claim_id":"","labels":{},"free_slots":1,"wait_s":0}',
        b'{"claim_id":"c","labels":{},"free_slots":0,"wait_s":0}',
        b'{"claim_id":"c","labels":{},"free_slots":1e9,"wait_s":0}',
        b'{"claim_id":"c","labels":{},"free_slots":1,"wait_s":1e9}',
        b'{"claim_id":"c","labels":{},"free_slots":1,"wait_s":NaN}',
        b'{"claim_id":"c","labels":{"os":7},"free_slots":1,"wait_s":0}',
        b'{"claim_id":"\\ud800","labels":{},"free_slots":1,"wait_s":0}',
    ],
)
async def test_a_bad_claim_claims_nothing(entrance: Entrance, body: bytes) -> None:
    await entrance.submit()

    answer = await entrance.call("POST", "/v1/claims", token=entrance.minter.worker(ANN), data=body)

    assert answer.status == 400
    assert entrance.jobs.claimed_by == []


@pytest.mark.parametrize(
    "changes",
    [
        {"fence": 0},
        {"fence": 2**70},
        {"result": {"outcome": "won"}},
        {"result": {"outcome": "exited", "exit_code": 2**70}},
        {"usage": {"wall_s": float("inf"), "cpu_s": None, "max_rss_bytes": None}},
        {"usage": {"wall_s": float("nan"), "cpu_s": None, "max_rss_bytes": None}},
        {"artifacts": [{"path": "../etc/passwd", "size_bytes": 1, "sha256": "0" * 64}]},
        {"artifacts": [{"path": "a", "size_bytes": 1, "sha256": "G" * 64}]},
        {"artifacts": 2 * [{"path": "a", "size_bytes": 0, "sha256": "0" * 64}]},
        {"log": {"size_bytes": 1, "sha256": "0" * 64, "tail_offset": 0, "tail": "%%%"}},
    ],
)
async def test_a_bad_finish_settles_nothing(entrance: Entrance, changes: dict[str, object]) -> None:
    claim, token = await entrance.run()

    assert (await entrance.finish(claim, token, **changes)).status == 400
    assert await entrance.status(claim) is JobStatus.RUNNING


@pytest.mark.parametrize(
    "path",
    [
        "%2E%2E/x",
        "a/%2E%2E/x",
        "%2E",
        "a//b",
        "%2Fetc%2Fpasswd",
        "a/..%2F..%2Fx",
        "a%00b",
        "a/",
        "x" * 1_025,
    ],
)
async def test_an_artifact_cannot_leave_its_folder(entrance: Entrance, path: str) -> None:
    claim, token = await entrance.run()

    answer = await entrance.call(
        "PUT",
        f"/v1/attempts/{claim.attempt_id}/artifacts/{path}",
        token=token,
        data=b"x",
        headers={"Drawbar-Fence": "1", "Drawbar-Sha256": sha256(b"x").hexdigest()},
    )

    assert answer.status in (400, 404)
    assert (await entrance.finish(claim, token)).status == 200


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Drawbar-Fence": "1"},
        {"Drawbar-Sha256": "0" * 64},
        {"Drawbar-Fence": "-1", "Drawbar-Sha256": "0" * 64},
        {"Drawbar-Fence": "one", "Drawbar-Sha256": "0" * 64},
        {"Drawbar-Fence": "9" * 40, "Drawbar-Sha256": "0" * 64},
        {"Drawbar-Fence": "1", "Drawbar-Sha256": "0" * 63},
    ],
)
async def test_an_artifact_without_its_headers_is_refused(
    entrance: Entrance, headers: dict[str, str]
) -> None:
    claim, token = await entrance.run()
    path = f"/v1/attempts/{claim.attempt_id}/artifacts/a"

    answer = await entrance.call("PUT", path, token=token, data=b"x", headers=headers)

    assert answer.status == 400


async def test_an_artifact_of_unknown_length_is_refused(entrance: Entrance) -> None:
    async def endless() -> AsyncIterator[bytes]:
        yield b"x"

    claim, token = await entrance.run()
    path = f"/v1/attempts/{claim.attempt_id}/artifacts/a"

    answer = await entrance.call(
        "PUT",
        path,
        token=token,
        data=endless(),
        headers={"Drawbar-Fence": "1", "Drawbar-Sha256": "0" * 64},
    )

    assert answer.status == 400


@pytest.mark.parametrize(
    "content_range",
    [
        None,
        "",
        "bytes",
        "bytes 0-3",
        "bytes 3-0/*",
        "bytes 0-3/2",
        "bytes 0-99/*",
        "bytes 0-0/*",
        "bytes */0",
        "bytes -4/*",
        "bytes 0-99999999999999999999/*",
        "lines 0-3/*",
        "bytes 0-3/*, bytes 9-9/*",
    ],
)
async def test_a_log_range_that_contradicts_its_body_appends_nothing(
    entrance: Entrance, content_range: str | None
) -> None:
    claim, token = await entrance.run()
    headers = {"Drawbar-Fence": "1"}
    if content_range is not None:
        headers["Content-Range"] = content_range

    answer = await entrance.call(
        "PATCH",
        f"/v1/attempts/{claim.attempt_id}/log",
        token=token,
        data=b"text",
        headers=headers,
    )

    assert answer.status == 400
    log = entrance.jobs.read_log(
        claim.run_id, JobId("one"), attempt=claim.attempt_id, offset=0, follow=False
    )
    assert [piece async for piece in log] == []


async def test_a_log_answers_with_where_it_ends(entrance: Entrance) -> None:
    claim, token = await entrance.run()
    path = f"/v1/attempts/{claim.attempt_id}/log"

    async def patch(content_range: str) -> Reply:
        headers = {"Drawbar-Fence": "1", "Content-Range": content_range}
        return await entrance.call("PATCH", path, token=token, data=b"text", headers=headers)

    taken = await patch("bytes 0-3/*")
    gap = await patch("bytes 9-12/*")

    assert (taken.status, taken.headers["Range"]) == (202, "0-4")
    assert taken.headers["Drawbar-Attempt-State"] == "running"
    assert (gap.status, gap.headers["Range"]) == (416, "0-4")
    assert gap.headers["Drawbar-Attempt-State"] == "running"


@pytest.mark.parametrize("attempt_id", ["%00", "%ED%A0%80", "%FF", "x" * 101, "%20%0A", "é"])
async def test_an_attempt_id_that_is_none_reaches_no_store(
    entrance: Entrance, attempt_id: str
) -> None:
    answer = await entrance.call(
        "POST", f"/v1/attempts/{attempt_id}/finish", token=entrance.minter.worker(ANN), data=b"{}"
    )

    assert answer.status == 400


async def test_a_worker_that_is_gone_claims_nothing(entrance: Entrance) -> None:
    body = CLAIM.replace(b'"wait_s":0', b'"wait_s":60')
    asking = asyncio.ensure_future(
        entrance.call("POST", "/v1/claims", token=entrance.minter.worker(ANN), data=body)
    )
    async with asyncio.timeout(5):
        await entrance.jobs.waiting.wait()
        asking.cancel()
        await entrance.jobs.gone.wait()

    run_id = await entrance.submit()

    assert (await entrance.jobs.show_run(run_id)).jobs[0].status is JobStatus.QUEUED
