"""A line whose near end misbehaves."""

import asyncio
import json
from contextlib import suppress

import aiohttp
import pytest

from shared.http import line_server
from shared.protocol.line import FRAME_BYTES
from tests.support.http import Caller, serving
from tests.support.line import line_to
from tests.support.verbs import Near, Verbs


async def test_no_line_opens_without_a_token(caller: Caller, verbs: Verbs) -> None:
    with pytest.raises(aiohttp.WSServerHandshakeError) as turned_away:
        async with line_to(caller):
            pass

    assert turned_away.value.status == 401
    assert verbs.admitted == 0


async def test_a_request_that_is_no_handshake_is_400(caller: Caller) -> None:
    assert (await caller("GET", "/v1/line", token="t")).status == 400


async def test_a_verb_that_is_none_is_named(caller: Caller) -> None:
    async with line_to(caller, "t") as line:
        said = await line.ask("submit", b"{}", "t")

    assert said.json["code"] == "bad_request"
    assert said.json["facts"] == {"verbs": ["echo", "hang", "until"]}


async def test_a_bad_body_is_answered_with_its_mistakes(caller: Caller) -> None:
    async with line_to(caller, "t") as line:
        said = await line.ask("echo", b'{"text":7}', "t")
        next_said = await line.ask("echo", b"{}", "t")

    assert said.json["code"] == "bad_request"
    assert said.json["facts"]["mistakes"][0]["field"] == "text"
    assert not next_said.is_error


HANG = json.dumps({"number": 1, "verb": "hang"}).encode() + b"\n{}"


@pytest.mark.parametrize(
    "frame",
    [
        HANG.decode(),
        b"",
        b"\n",
        b"nonsense",
        b"\xff\xfe\n{}",
        b'{"verb":"echo"}\n{}',
        b'{"number":-1,"verb":"echo"}\n{}',
        b'{"number":9223372036854775808,"verb":"echo"}\n{}',
        b'{"number":2,"verb":"echo","token":7}\n{}',
        b"[" * 100_000,
        HANG,  # the number is in use
        b"x" * (FRAME_BYTES + 1),
    ],
    ids=lambda frame: repr(frame[:20]),
)
async def test_a_frame_that_is_none_ends_its_line_and_no_other(
    caller: Caller, verbs: Verbs, ask: Near, frame: bytes | str
) -> None:
    other = asyncio.ensure_future(ask("until", "other"))
    async with asyncio.timeout(5), line_to(caller, "t") as line:
        await line.socket.send_bytes(HANG)
        await verbs.hanging.wait()

        with suppress(ConnectionError):  # a long one may be cut off before it was sent
            if isinstance(frame, str):
                await line.socket.send_str(frame)
            else:
                await line.socket.send_bytes(frame)
        await line.until_closed()
        await verbs.gone.wait()
    verbs.told.set()
    assert (await other).text == "other"


async def test_giving_up_what_is_not_open_changes_nothing(caller: Caller) -> None:
    async with line_to(caller, "t") as line:
        await line.send(1, "give_up")
        await line.send(1, "echo")
        said = await line.answer()
        await line.send(1, "give_up")

        assert (said.number, said.is_error) == (1, False)
        assert not (await line.ask("echo", b"{}", "t")).is_error


async def test_a_number_may_be_used_again_once_it_was_answered(caller: Caller) -> None:
    async with line_to(caller, "t") as line:
        for _ in range(3):
            await line.send(1, "echo")
            assert not (await line.answer()).is_error


async def test_a_line_with_too_many_open_calls_sheds_the_next(
    caller: Caller, verbs: Verbs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(line_server, "MAX_OPEN", 2)
    async with line_to(caller, "t") as line:
        await line.send(1, "hang")
        await line.send(2, "hang")
        await line.send(3, "echo")
        shed = await line.answer()
        await line.send(1, "give_up")
        await verbs.gone.wait()

        assert (shed.number, shed.json["code"]) == (3, "overloaded")
        assert not (await line.ask("echo", b"{}", "t")).is_error


async def test_nothing_is_done_any_more_for_who_is_gone(caller: Caller, verbs: Verbs) -> None:
    async with asyncio.timeout(5):
        async with line_to(caller, "t") as line:
            await line.send(1, "hang")
            await verbs.hanging.wait()

        await verbs.gone.wait()


async def test_nothing_is_done_any_more_for_who_does_not_listen(
    verbs: Verbs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(line_server, "PING_S", 0.1)
    text = json.dumps({"text": "x" * 1_000_000}).encode()
    async with asyncio.timeout(5), serving(verbs.app()) as caller, line_to(caller, "t") as line:
        await line.send(1, "hang")
        for number in range(2, 30):
            await line.send(number, "echo", text)

        await verbs.gone.wait()  # the line was never read, and so no ping was answered
