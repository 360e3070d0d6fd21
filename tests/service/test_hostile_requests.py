"""Requests that nobody means well by, each under its name in docs/fault-catalogue.md.

Whatever comes, the answer is one clear refusal; nothing is changed, nothing is stopped, nothing
breaks inside.
"""

import gzip
import json
from collections.abc import AsyncIterator, Iterator
from hashlib import sha256

import pytest
from structlog.testing import capture_logs
from structlog.typing import EventDict

from shared.ids import RunId
from shared.protocol.gateway import ArtifactEntry
from shared.protocol.jobs import RunFilter
from shared.tokens import Role
from tests.support.jobstore import ANN, Hands, a_job
from tests.support.line import line_to
from tests.support.site import Site, site_of, speak

MIB = 1024 * 1024


@pytest.fixture
async def site(hands: Hands) -> AsyncIterator[Site]:
    await hands.submit(a_job("one"))
    async with site_of(hands) as ready:
        yield ready


@pytest.fixture
def logs() -> Iterator[list[EventDict]]:
    with capture_logs() as entries:
        yield entries


async def assert_unharmed(site: Site, logs: list[EventDict]) -> None:
    """It serves, it has the one run that it had, unclaimed, and nothing broke inside."""
    assert (await site.jobs("GET", "/healthz")).status == 200
    assert (await site.gate("GET", "/healthz")).status == 200
    runs = (await site.hands.service.list_runs(RunFilter())).runs
    assert [run.counts for run in runs] == [{"queued": 1}]
    assert [entry for entry in logs if entry["log_level"] in ("error", "critical")] == []


def a_claim(**fields: object) -> dict[str, object]:
    return {"claim_id": "c", "labels": {}, "free_slots": 1, "wait_s": 0, **fields}


BODIES = {
    "malformed_json": b'{"claim_id": "c", ',
    "malformed_json-no_utf8": b'{"claim_id": "\xff\xfe"}',
    "deep_json": b'{"labels": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "deep_json-objects": b'{"labels": ' + b'{"a":' * 50_000 + b"1" + b"}" * 50_000 + b"}",
    "huge_number": b'{"claim_id": "c", "labels": {}, "free_slots": '
    + b"9" * 5_000
    + b', "wait_s": 0}',
    "huge_number-exponent": json.dumps(a_claim())
    .replace('"wait_s": 0', '"wait_s": 1e999')
    .encode(),
    "nan": json.dumps(a_claim(wait_s=float("nan"))).encode(),
    "nan-infinity": json.dumps(a_claim(wait_s=float("inf"))).encode(),
    "wrong_type": json.dumps(a_claim(free_slots="1")).encode(),
    "wrong_type-bool": json.dumps(a_claim(free_slots=True)).encode(),
    "wrong_type-fraction": json.dumps(a_claim(free_slots=1.5)).encode(),
    "wrong_type-list": b"[]",
    "wrong_type-null": b"null",
    "lone_surrogate": b'{"claim_id": "\\ud800", "labels": {}, "free_slots": 1, "wait_s": 0}',
    "lone_surrogate-key": json.dumps(a_claim(labels={"\udfff": "x"})).encode(),
}


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
async def test_a_body_that_is_no_claim_claims_nothing(
    site: Site, logs: list[EventDict], body: bytes
) -> None:
    answer = await site.gate("POST", "/v1/claims", token=site.minter.worker(ANN), data=body)

    assert answer.status == 400
    assert answer.json["code"] == "bad_request"
    await assert_unharmed(site, logs)


async def test_on_a_line_they_are_no_claims_either(site: Site, logs: list[EventDict]) -> None:
    token = site.minter.worker(ANN)
    named = f'{{"worker_id": "{ANN}", '.encode()

    async with line_to(site.gate, token) as line:
        for name, body in BODIES.items():
            said = await line.ask("claim", body.replace(b"{", named, 1), token)
            assert said.is_error, name
            assert said.json["code"] == "bad_request", name
        await assert_unharmed(site, logs)
        good = json.dumps(a_claim()).encode().replace(b"{", named, 1)
        assert len((await line.ask("claim", good, token)).json["claims"]) == 1


async def test_of_two_fields_of_one_name_the_last_counts(site: Site) -> None:
    """dup_keys: JSON leaves it open; here every reader takes the last one."""
    body = b'{"reason": "first", "job_id": "no-such", "reason": "last", "job_id": "one"}'
    token = site.minter.client("eve", Role.ADMIN)

    answer = await site.jobs("POST", "/v1/runs/1/cancel", token=token, data=body)

    assert answer.status == 200
    job = (await site.hands.service.show_run(RunId(1))).jobs[0]
    assert job.status == "cancelled"
    assert "last" in str(job.reason)


async def test_extra_fields_of_a_message_are_passed_over_and_of_a_document_refused(
    site: Site, logs: list[EventDict]
) -> None:
    """extra_fields: messages may come from newer versions; a document's are typing mistakes."""
    body = {"pipeline": {"name": "p", "jobs": [{"id": "a", "command": "x", "comand": "y"}]}}
    answer = await site.jobs(
        "POST",
        "/v1/runs",
        token=site.minter.client("eve", Role.ADMIN),
        data=json.dumps(body).encode(),
        headers={"Idempotency-Key": "k"},
    )
    assert answer.status == 400
    assert "comand" in answer.json["message"]
    await assert_unharmed(site, logs)

    claimed = await site.gate(
        "POST",
        "/v1/claims",
        token=site.minter.worker(ANN),
        data=json.dumps(a_claim(from_the_future=[1, 2])).encode(),
    )

    assert claimed.status == 200


ENCODED = {
    "gzip_bomb": ("gzip", gzip.compress(bytes(64 * MIB)), {413}),
    "gzip_bomb-nested": ("gzip", gzip.compress(gzip.compress(bytes(16 * MIB))), {400, 413}),
    "bad_gzip": ("gzip", b"\x1f\x8b this is none", {400}),
    "bad_gzip-unknown": ("zstandard-of-tomorrow", b"{}", {400, 415}),
}


async def test_a_parameter_that_there_is_not_is_refused_by_its_name(
    site: Site, logs: list[EventDict]
) -> None:
    """A filter that is passed over would let everything through."""
    token = site.minter.client("eve", Role.ADMIN)

    answer = await site.jobs("GET", "/v1/runs?statuss=failed", token=token)

    assert answer.status == 400
    told = json.loads(answer.body)
    assert "no parameter 'statuss'; there are: " in told["message"]
    await assert_unharmed(site, logs)


async def test_a_time_beyond_all_calendars_is_refused(site: Site, logs: list[EventDict]) -> None:
    token = site.minter.client("eve", Role.ADMIN)
    body = b'{"keep_s": 1' + b"0" * 300 + b"}"

    answer = await site.jobs("POST", "/v1/prune", token=token, data=body)

    assert answer.status == 400
    await assert_unharmed(site, logs)


@pytest.mark.parametrize(("encoding", "body", "statuses"), ENCODED.values(), ids=ENCODED)
async def test_a_packed_body_is_unpacked_no_further_than_the_limit(
    site: Site, logs: list[EventDict], encoding: str, body: bytes, statuses: set[int]
) -> None:
    answer = await site.gate(
        "POST",
        "/v1/claims",
        token=site.minter.worker(ANN),
        data=body,
        headers={"Content-Encoding": encoding, "Content-Type": "application/json"},
    )

    assert answer.status in statuses
    await assert_unharmed(site, logs)


async def test_a_form_is_no_message(site: Site, logs: list[EventDict]) -> None:
    """multipart_abuse: ten thousand parts, or one that never ends, are not even looked at."""
    token = site.minter.worker(ANN)
    kind = {"Content-Type": "multipart/form-data; boundary=b"}
    for body in (b"--b\r\n\r\n\r\n" * 10_000, b"--b\r\nContent-Disposition: form-data\r\n\r\nx"):
        answer = await site.gate("POST", "/v1/claims", token=token, data=body, headers=kind)
        assert answer.status == 400

    await assert_unharmed(site, logs)


def a_head(*lines: str, method: str = "POST", path: str = "/v1/claims") -> bytes:
    return "\r\n".join([f"{method} {path} HTTP/1.1", *lines, "", ""]).encode("latin-1")


HOST, CHUNKED = "Host: localhost", "Transfer-Encoding: chunked"
REFUSED, ANY = (b" 400 ", b" 401 ", b" 405 ", b" 413 ", b" 404 "), (b" 200 ", b" 400 ")
RAW: dict[str, tuple[bytes, tuple[bytes, ...]]] = {
    "oversize_header": (a_head(HOST, "X: " + "x" * 100_000), REFUSED),
    "oversize_header-many": (a_head(HOST, *(f"X-{n}: {n}" for n in range(50_000))), REFUSED),
    "oversize_header-path": (a_head(HOST, method="GET", path="/" + "x" * 100_000), REFUSED),
    "oversize_body": (a_head(HOST, f"Content-Length: {10**12}"), REFUSED),
    "chunked_abuse-size": (
        a_head(HOST, CHUNKED) + b"FFFFFFFFFFFFFFFFF\r\n",
        REFUSED,
    ),
    "chunked_abuse-negative": (
        a_head(HOST, CHUNKED) + b"-5\r\nhello\r\n",
        REFUSED,
    ),
    "chunked_abuse-twice": (
        a_head(HOST, "Transfer-Encoding: chunked, chunked") + b"0\r\n\r\n",
        REFUSED,
    ),
    "chunked_abuse-extension": (
        a_head(HOST, CHUNKED) + b"1;" + b"x" * 100_000 + b"\r\n{\r\n",
        REFUSED,
    ),
    "content_length_conflict": (
        a_head(HOST, "Content-Length: 2", "Content-Length: 3") + b"{}",
        REFUSED,
    ),
    "content_length_conflict-chunked": (
        a_head(HOST, "Content-Length: 2", "Transfer-Encoding: chunked") + b"{}",
        REFUSED,
    ),
    "content_length_conflict-negative": (a_head(HOST, "Content-Length: -1") + b"{}", REFUSED),
    "content_length_conflict-plus": (a_head(HOST, "Content-Length: +2") + b"{}", REFUSED),
    "unknown_method": (a_head(HOST, method="BREW"), REFUSED),
    "unknown_method-connect": (a_head(HOST, method="CONNECT", path="elsewhere:443"), REFUSED),
    "unknown_method-long": (a_head(HOST, method="A" * 10_000), REFUSED),
    "bad_host-none": (a_head(method="GET", path="/healthz"), ANY),
    "bad_host-two": (a_head(HOST, "Host: other", method="GET", path="/healthz"), ANY),
    "bad_host-strange": (a_head("Host: [::1", method="GET", path="/healthz"), ANY),
    "bad_host-elsewhere": (a_head(HOST, method="GET", path="http://elsewhere/healthz"), ANY),
    "bad_host-nul": (a_head("Host: a\x00b", method="GET", path="/healthz"), ANY),
    "garbage_header": (a_head(HOST, "No colon here"), REFUSED),
    "garbage_header-folded": (a_head(HOST, "X: a\r\n b"), REFUSED),
    "garbage_header-space": (a_head(HOST, "Content-Length : 2") + b"{}", REFUSED),
}


@pytest.mark.parametrize(("request_", "statuses"), RAW.values(), ids=RAW)
async def test_a_request_that_is_none_is_refused(
    site: Site, logs: list[EventDict], request_: bytes, statuses: tuple[bytes, ...]
) -> None:
    for call in (site.gate, site.jobs):
        line = (await speak(call, request_)).partition(b"\r\n")[0]
        # No answer at all is one too: the connection was closed.
        assert line == b"" or any(status in line for status in statuses), line

    await assert_unharmed(site, logs)


TRAVERSALS = {
    "path_traversal": "../../etc/passwd",
    "path_traversal-encoded": "%2e%2e%2f%2e%2e%2fetc%2fpasswd",
    "path_traversal-twice": "%252e%252e%252fetc",
    "path_traversal-absolute": "%2Fetc%2Fpasswd",
    "path_traversal-backslash": "..%5c..%5cetc",
    "path_traversal-nul": "a%00b",
    "path_traversal-inner": "a/../../b",
    "path_traversal-dot": "a/./b",
    "path_traversal-empty_step": "a//b",
    "path_traversal-no_utf8": "%ff%fe",
    "path_traversal-overlong": "%c0%ae%c0%ae/etc",
    "path_traversal-long_step": "a" * 300,
    "path_traversal-newline": "a%0d%0ab",
}
STAYS = {"path_traversal-twice", "path_traversal-no_utf8", "path_traversal-overlong"}


@pytest.mark.parametrize(("name", "path"), TRAVERSALS.items(), ids=TRAVERSALS)
async def test_an_artifact_stays_in_its_folder(
    hands: Hands, name: str, path: str, logs: list[EventDict]
) -> None:
    """Refused, or a plain name of strange letters below the attempt's own folder."""
    await hands.submit(a_job("one"))
    async with site_of(hands) as site:
        claim = await hands.start()
        answer = await site.gate(
            "PUT",
            f"/v1/attempts/{claim.attempt_id}/artifacts/{path}",
            token=site.minter.execution(ANN, claim.attempt_id, claim.fence),
            data=b"x",
            headers={
                "Drawbar-Fence": str(claim.fence),
                "Drawbar-Sha256": sha256(b"x").hexdigest(),
            },
        )

        assert answer.status in ({201} if name in STAYS else {400, 404})
        assert [entry for entry in logs if entry["log_level"] == "error"] == []


async def test_names_that_differ_in_case_only_are_two_artifacts(hands: Hands) -> None:
    """case_collision: on a disk that does not tell them apart, bytes are still kept by hash."""
    await hands.submit(a_job("one"))
    claim = await hands.start()
    async with site_of(hands) as site:
        for name, data in (("Report.txt", b"large"), ("report.txt", b"small")):
            stored = await site.gate(
                "PUT",
                f"/v1/attempts/{claim.attempt_id}/artifacts/{name}",
                token=site.minter.execution(ANN, claim.attempt_id, claim.fence),
                data=data,
                headers={
                    "Drawbar-Fence": str(claim.fence),
                    "Drawbar-Sha256": sha256(data).hexdigest(),
                },
            )
            assert stored.status == 201
        entries = tuple(
            ArtifactEntry(path=name, size_bytes=5, sha256=sha256(data).hexdigest())
            for name, data in (("Report.txt", b"large"), ("report.txt", b"small"))
        )
        await hands.finish(claim, artifacts=entries)
        token = site.minter.client("eve", Role.VIEWER)
        folder = "/v1/runs/1/jobs/one/artifacts/"
        read = [
            (await site.jobs("GET", folder + entry.path, token=token)).body for entry in entries
        ]

    assert read == [b"large", b"small"]
