"""A line: many calls on one connection, whatever happens to them and to it."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from shared import errors
from shared.http.line import SILENT_S
from shared.http.server import Server
from shared.http.transport import Transport
from shared.protocol.line import BODY_BYTES
from tests.support.http import serving
from tests.support.runtime import ManualRuntime
from tests.support.verbs import Near, Verbs, Word, near_end

# -- calls ------------------------------------------------------------------------------------


async def test_calls_share_a_line_and_are_answered_when_they_can_be(
    ask: Near, verbs: Verbs
) -> None:
    async with asyncio.timeout(5), asyncio.TaskGroup() as group:
        slow = group.create_task(ask("until", "slow"))
        quick = await asyncio.gather(*(ask("echo", str(n)) for n in range(50)))
        assert not slow.done()
        verbs.told.set()

    assert [word.text for word in quick] == [str(n) for n in range(50)]
    assert slow.result().text == "slow"
    assert verbs.admitted == 1


async def test_each_call_carries_its_own_token(transport: Transport, verbs: Verbs) -> None:
    await transport.call("echo", Word(), bytes)
    await transport.call("echo", Word(), bytes, token="theirs")

    assert verbs.tokens == ["mine", "theirs"]


@pytest.mark.parametrize("kind", [errors.BY_CODE[code] for code in sorted(errors.BY_CODE)])
async def test_the_error_that_was_raised_there_is_raised_here(
    ask: Near, verbs: Verbs, kind: type[errors.ServiceError]
) -> None:
    verbs.trouble = [kind("because", state="lost", message="a fact of that name")]

    with pytest.raises(kind) as raised:
        await ask("echo")

    assert type(raised.value) is kind
    assert raised.value.message == "because"
    assert raised.value.facts["state"] == "lost"


@pytest.mark.parametrize("bug", [KeyError("x"), ConnectionResetError(), TimeoutError()])
async def test_a_verb_that_breaks_is_answered_and_takes_no_other_call_along(
    ask: Near, verbs: Verbs, bug: Exception
) -> None:
    verbs.trouble = [bug]

    async with asyncio.timeout(5), asyncio.TaskGroup() as group:
        other = group.create_task(ask("until", "other"))
        with pytest.raises(errors.ServiceError, match="something broke inside"):
            await ask("echo")
        verbs.told.set()

    assert other.result().text == "other"


async def test_a_retryable_error_is_met_with_another_call_where_asked(
    ask: Near, verbs: Verbs, runtime: ManualRuntime
) -> None:
    verbs.trouble = [errors.Overloaded(), errors.Overloaded(retry_after_s=20)]

    with pytest.raises(errors.Overloaded):
        await ask("echo", "once")
    async with asyncio.timeout(5), asyncio.TaskGroup() as group:
        asking = group.create_task(ask("echo", "again", retry_for_s=30))
        await runtime.until_asleep()
        await runtime.advance(19.9)
        assert not asking.done()
        await runtime.advance(1)

    assert verbs.asked == ["once", "again", "again"]


async def test_a_body_over_the_limit_is_not_sent(ask: Near, verbs: Verbs) -> None:
    with pytest.raises(errors.TooLarge):
        await ask("echo", "x" * BODY_BYTES)

    assert verbs.admitted == 0


async def test_a_body_up_to_the_limit_goes_there_and_back(ask: Near) -> None:
    text = "x" * (BODY_BYTES - len(Word().model_dump_json()))

    assert (await ask("echo", text)).text == text


# -- calls that are given up ----------------------------------------------------------------------


async def test_a_call_that_is_cancelled_is_given_up_at_the_far_end(ask: Near, verbs: Verbs) -> None:
    calling = asyncio.ensure_future(ask("hang"))
    async with asyncio.timeout(5):
        await verbs.hanging.wait()

        calling.cancel()

        await verbs.gone.wait()
    assert (await ask("echo", "next")).text == "next"
    assert verbs.admitted == 1


async def test_a_call_that_is_out_of_time_is_unavailable_and_given_up(
    ask: Near, verbs: Verbs
) -> None:
    with pytest.raises(errors.Unavailable, match="no answer in time"):
        await ask("hang", timeout_s=0.05)

    async with asyncio.timeout(5):
        await verbs.gone.wait()


async def test_calls_go_elsewhere_when_a_line_was_silent_for_long(
    ask: Near, verbs: Verbs, runtime: ManualRuntime
) -> None:
    async with asyncio.timeout(5), asyncio.TaskGroup() as group:
        waiting = group.create_task(ask("until", "late"))
        calling = group.create_task(ask("hang"))
        await verbs.hanging.wait()
        await runtime.advance(SILENT_S)
        calling.cancel()
        await verbs.gone.wait()

        await ask("echo")
        assert verbs.admitted == 2
        verbs.told.set()  # the silent line was only slow: who still waits there is answered

    assert waiting.result().text == "late"


async def test_a_line_that_was_heard_meanwhile_is_kept(
    ask: Near, verbs: Verbs, runtime: ManualRuntime
) -> None:
    async with asyncio.timeout(5):
        calling = asyncio.ensure_future(ask("hang"))
        await verbs.hanging.wait()
        await runtime.advance(SILENT_S)
        await ask("echo")
        calling.cancel()
        await verbs.gone.wait()
        await ask("echo")

    assert verbs.admitted == 1


# -- lines that end -------------------------------------------------------------------------------


async def test_closing_breaks_the_open_calls_and_refuses_later_ones(
    transport: Transport, ask: Near, verbs: Verbs
) -> None:
    async with asyncio.timeout(5):
        calling = asyncio.ensure_future(ask("hang"))
        await verbs.hanging.wait()

        await transport.close()

        with pytest.raises(errors.Unavailable, match="closed"):
            await calling
        with pytest.raises(errors.Unavailable, match="was closed"):
            await ask("echo")
        await verbs.gone.wait()


async def test_closing_while_a_line_is_opened_leaves_none(
    transport: Transport, ask: Near, verbs: Verbs
) -> None:
    calling = asyncio.ensure_future(ask("hang"))
    for _ in range(3):
        await asyncio.sleep(0)

    await transport.close()

    async with asyncio.timeout(5):
        with pytest.raises(errors.Unavailable):
            await calling


async def test_a_service_that_is_away_is_named(runtime: ManualRuntime) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}"
        transport = Transport(url, runtime, token=lambda: "t", service="registry")

        with pytest.raises(errors.Unavailable, match=f"the registry at {url} cannot be reached"):
            await near_end(transport)("echo")
        await transport.close()


@asynccontextmanager
async def patient(verbs: Verbs) -> AsyncIterator[tuple[Near, Server]]:
    """A server that gives the calls in progress a minute when it stops."""
    server = Server(verbs.app(), "127.0.0.1", 0, linger_s=60)
    await server.start()
    transport = Transport(server.url, ManualRuntime(), token=lambda: "t")
    yield near_end(transport), server
    await transport.close()


async def test_a_server_that_stops_answers_what_is_open_and_takes_no_more(verbs: Verbs) -> None:
    async with asyncio.timeout(5), patient(verbs) as (ask, server):
        calling = asyncio.ensure_future(ask("until", "open"))
        await verbs.untold.wait()

        stopping = asyncio.ensure_future(server.stop())
        await asyncio.sleep(0.01)
        late = asyncio.ensure_future(ask("echo"))
        await asyncio.sleep(0.01)
        verbs.told.set()

        assert (await calling).text == "open"
        await stopping
        with pytest.raises(errors.Unavailable):
            await late
    assert verbs.asked == []


async def test_a_server_that_stops_does_not_wait_for_an_idle_line(verbs: Verbs) -> None:
    async with asyncio.timeout(5), patient(verbs) as (ask, server):
        await ask("echo")

        await server.stop()

        with pytest.raises(errors.Unavailable):
            await ask("echo")


async def test_a_server_that_stops_cuts_calls_that_do_not_end(runtime: ManualRuntime) -> None:
    verbs = Verbs()
    async with asyncio.timeout(5):
        async with serving(verbs.app()) as caller:
            transport = Transport(caller.url, runtime, token=lambda: "t")
            calling = asyncio.ensure_future(near_end(transport)("hang"))
            await verbs.hanging.wait()

        with pytest.raises(errors.Unavailable):
            await calling
        await verbs.gone.wait()
        await transport.close()
