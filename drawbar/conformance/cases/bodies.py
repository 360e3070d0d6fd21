"""Logs, artifacts and inputs: bytes that travel beside the messages."""

import hashlib
from typing import Final

from drawbar.conformance.case import Cases, Unproved, expect, must
from drawbar.conformance.stand import Stand

CASES: Final[Cases[Stand]] = Cases()
case = CASES.case


@case(
    "log.appended",
    "202: appended; `Range` says up to where, `Drawbar-Attempt-State` what the attempt is.",
)
async def appended(stand: Stand) -> None:
    run_id = await stand.submit()
    attempt = await (await stand.hand()).start()
    first = (await attempt.log(b"one\n", 0)).is_(202)
    expect(first.headers.get("Range"), "0-4", "Range")
    expect(first.headers.get("Drawbar-Attempt-State"), "running", "Drawbar-Attempt-State")
    expect((await attempt.log(b"two\n", 4)).is_(202).headers.get("Range"), "0-8", "Range")
    (await attempt.finish(log=b"one\ntwo\n", with_log=False)).is_(200)
    stored = await stand.person("GET", f"/v1/runs/{run_id}/jobs/a/log")
    expect(stored.is_(200).body, b"one\ntwo\n", "the log as people get it")


@case("log.gap", "416: `Range` and `facts.resume_at` say where to go on")
async def gap(stand: Stand) -> None:
    await stand.submit()
    attempt = await (await stand.hand()).start()
    (await attempt.log(b"one\n", 0)).is_(202)
    for offset in (10, 2):  # bytes before it are missing; it overlaps what came
        answer = (await attempt.log(b"two\n", offset)).is_(416, "log_offset_mismatch")
        expect(answer.fact("resume_at"), 4, f"resume_at after a chunk at {offset}")
        expect(answer.headers.get("Range"), "0-4", "Range")


@case(
    "log.stale-fence",
    "The attempt no longer owns the job. Stop the process; the result was kept as evidence.",
)
async def log_stale(stand: Stand) -> None:
    await stand.submit()
    attempt = await (await stand.hand()).start()
    (await attempt.log(b"x", 0, fence=attempt.fence + 1)).is_(409, "stale_fence")


@case("log.others", 'The token is genuine but does not open this door; facts["check"] says why.')
async def log_others(stand: Stand) -> None:
    await stand.submit()
    attempt, other = await (await stand.hand()).start(), await stand.hand()
    own, attempt.execution = attempt.execution, other.token
    for answer in (await attempt.log(b"mine", 0), await attempt.put("x", b"mine")):
        must(answer.status in (403, 409), f"{answer.asked}: another worker got {answer.status}")
    attempt.execution = own
    expect((await attempt.log(b"right", 0)).is_(202).headers.get("Range"), "0-5", "Range")


@case("log.bad-range", "The message cannot be understood. Mend it; sending it again will not help.")
async def bad_range(stand: Stand) -> None:
    await stand.submit()
    attempt = await (await stand.hand()).start()
    for value in ("", "bytes 5-1/*", "lines 0-3/*", "bytes 0-99/*"):
        headers = {"Drawbar-Fence": str(attempt.fence), "Content-Range": value}
        answer = await attempt.hand.gateway.ask(
            "PATCH", f"{attempt.path}/log", b"four", token=attempt.key, headers=headers
        )
        answer.is_(400, "bad_request")


@case(
    "log.resend", "202: `resend_log_from` and `missing_artifacts`; send those, then finish again."
)
async def resend(stand: Stand) -> None:
    await stand.submit()
    attempt = await (await stand.hand()).start()
    told = (await attempt.finish(log=b"said\n", with_log=False)).is_(202).json()
    expect(told.get("resend_log_from"), 0, "resend_log_from of a log of which nothing came")
    (await attempt.log(b"said\n", 0)).is_(202)
    (await attempt.finish(log=b"said\n", with_log=False)).is_(200)


@case("artifact.stored", "201: stored under its hash, verified, durable. A repeat costs nothing.")
async def stored(stand: Stand) -> None:
    run_id = await stand.submit()
    attempt = await (await stand.hand()).start()
    data = b"bytes \x00\xff" * 1_000
    for _ in range(2):
        (await attempt.put("dist/a b.bin", data)).is_(201)
    (await attempt.finish(artifacts=(("dist/a b.bin", data),))).is_(200)
    got = await stand.person("GET", f"/v1/runs/{run_id}/jobs/a/artifacts/dist/a%20b.bin")
    must(got.is_(200).body == data, "the artifact came back with other bytes")


@case(
    "artifact.wrong-hash",
    "The message cannot be understood. Mend it; sending it again will not help.",
)
async def wrong_hash(stand: Stand) -> None:
    await stand.submit()
    attempt = await (await stand.hand()).start()
    (await attempt.put("out", b"bytes", sha256="0" * 64)).is_(400, "bad_request")
    told = (await attempt.finish(artifacts=(("out", b"bytes"),))).is_(202).json()
    expect(told["missing_artifacts"], ["out"], "what is missing after a bad upload")


@case(
    "artifact.stale-fence",
    "The attempt no longer owns the job. Stop the process; the result was kept as evidence.",
)
async def artifact_stale(stand: Stand) -> None:
    await stand.submit()
    attempt = await (await stand.hand()).start()
    (await attempt.put("out", b"old", fence=attempt.fence + 1)).is_(409, "stale_fence")
    (await attempt.put("out", b"new")).is_(201)


@case("artifact.path", "The message cannot be understood. Mend it; sending it again will not help.")
async def bad_path(stand: Stand) -> None:
    await stand.submit()
    attempt = await (await stand.hand()).start()
    for path in ("%2e%2e/up", "a/%2e%2e/%2e%2e/b", "a%00b", "a%5Cb"):
        status = (await attempt.put(path, b"x")).status
        must(400 <= status < 500, f"an artifact at {path!r} got {status}")


@case(
    "artifact.missing",
    "202: `resend_log_from` and `missing_artifacts`; send those, then finish again.",
)
async def missing(stand: Stand) -> None:
    await stand.submit()
    attempt = await (await stand.hand()).start()
    named = (("one", b"never seen 1" + attempt.id.encode()), ("two", b"2" + attempt.id.encode()))
    (await attempt.put(*named[1])).is_(201)
    told = (await attempt.finish(artifacts=named)).is_(202).json()
    expect(told["missing_artifacts"], ["one"], "missing_artifacts")
    (await attempt.put(*named[0])).is_(201)
    (await attempt.finish(artifacts=named)).is_(200)


@case("artifact.parts", "202: a part, `Range` says up to where.")
async def parts(stand: Stand) -> None:
    await stand.submit()
    attempt = await (await stand.hand()).take()
    if not (await attempt.run()).is_(200).json().get("part_bytes"):
        raise Unproved("the run context names no part_bytes: it takes no parts")
    data = attempt.id.encode() * 10
    half, size = len(data) // 2, len(data)
    sha = hashlib.sha256(data).hexdigest()
    first = await attempt.put("out", data[:half], sha256=sha, part=f"bytes 0-{half - 1}/{size}")
    expect(first.is_(202).headers.get("Range"), f"0-{half}", "Range after the first part")
    again = await attempt.put("out", data[:half], sha256=sha, part=f"bytes 0-{half - 1}/{size}")
    expect(again.is_(416).fact("resume_at"), half, "resume_at")
    rest = f"bytes {half}-{size - 1}/{size}"
    (await attempt.put("out", data[half:], sha256=sha, part=rest)).is_(201)
    (await attempt.finish(artifacts=(("out", data),))).is_(200)


@case("input.read", "200 {artifacts: [{path, size_bytes, sha256}]} of that dependency")
async def inputs(stand: Stand) -> None:
    await stand.submit({"id": "make"}, {"id": "use", "needs": ["make"]})
    hand = await stand.hand()
    maker = await hand.start()
    (await maker.put("out/x", b"made")).is_(201)
    (await maker.finish(artifacts=(("out/x", b"made"),))).is_(200)
    user = await hand.start()
    listed = (await user.get("inputs/make")).is_(200).json()["artifacts"]
    expect([(a["path"], a["size_bytes"]) for a in listed], [("out/x", 4)], "the inputs")
    expect((await user.get("inputs/make/out/x")).is_(200).body, b"made", "the input's bytes")
    rest = (await user.get("inputs/make/out/x?offset=1")).is_(200).body
    expect(rest, b"ade", "the input's bytes from offset 1 on")
    (await user.get("inputs/make/nothing")).is_(404)
    (await user.get("inputs/nobody")).is_(404)
