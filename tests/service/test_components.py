"""Components: recorded, fenced, heard of; and the one runner, in process and through the API."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass

import pytest

from gateway.app import build_app as build_gateway_app
from gateway.service import GatewayService
from jobstore.app import build_app as build_jobstore_app
from shared.components import BEAT_S, FIRST_S, ComponentRunner
from shared.errors import (
    Forbidden,
    ServiceError,
    StaleFence,
    Unauthenticated,
    Unavailable,
    UnknownComponent,
)
from shared.http.clients import ComponentsClient, ExecutionClient, JobsClient
from shared.http.server import Server
from shared.http.transport import Transport
from shared.ids import WorkerId
from shared.protocol import components as c
from shared.renewal import AttemptTokens
from shared.services import Components
from shared.tokens import Minter, Role, Verifier
from tests.support.carriers import KEY
from tests.support.jobstore import Hands

ANN = WorkerId("ann")


def a_worker(component_id: str = "c-1", **fields: object) -> c.CreateComponent:
    return c.CreateComponent.model_validate(
        {
            "component_id": component_id,
            "kind": "worker",
            "name": "box",
            "host": "here",
            "pid": 7,
            "interval_s": 5.0,
            **fields,
        }
    )


@dataclass
class Way:
    """To the job service: as its own object, or by a worker's token through a gateway."""

    hands: Hands
    components: Components  # of the worker ann
    minter: Minter
    gateway: str

    async def listed(self, *, with_ended: bool = False) -> list[tuple[str, str]]:
        ask = c.ComponentFilter(with_ended=with_ended)
        found = (await self.hands.service.components.list_components(ask)).components
        return [(one.component_id, one.state.value) for one in found]

    async def prepared(self, component_id: str, **fields: object) -> c.ComponentBeat:
        """A component that lives, as what its beats say."""
        await self.components.create_component(a_worker(component_id, **fields))
        ask = c.PrepareComponent(component_id=component_id)
        fence = (await self.components.prepare_component(ask)).fence
        return c.ComponentBeat(component_id=component_id, fence=fence)

    def by(self, token: str | None) -> ComponentsClient:
        """Whoever has that token, at the gateway."""
        transport = Transport(
            self.gateway, self.hands.runtime, token=lambda: token, service="gateway"
        )
        self.opened.append(transport)
        return ComponentsClient(transport)

    def __post_init__(self) -> None:
        self.opened: list[Transport] = []


@pytest.fixture
async def gateway(hands: Hands) -> AsyncIterator[tuple[str, Minter]]:
    runtime = hands.runtime
    verifier = Verifier(KEY.public_key(), runtime)
    minter = Minter(KEY, runtime, verifier)
    async with AsyncExitStack() as stack:

        async def serve(app: object) -> str:
            server = Server(app, "127.0.0.1", 0, linger_s=0.05)  # type: ignore[arg-type]
            await server.start()
            stack.push_async_callback(server.stop)
            return server.url

        service = hands.service
        jobstore = await serve(build_jobstore_app(service, verifier, service.execution))
        behind = Transport(
            jobstore, runtime, token=lambda: minter.service("gateway"), service="jobstore"
        )
        stack.push_async_callback(behind.close)
        jobs = JobsClient(behind)
        tokens = AttemptTokens(minter, runtime)
        forwarder = GatewayService(jobs, runtime)
        app = build_gateway_app(forwarder, verifier, tokens, ExecutionClient(behind), jobs)
        yield await serve(app), minter


@pytest.fixture(params=["direct", "through_the_api"])
async def way(
    request: pytest.FixtureRequest, hands: Hands, gateway: tuple[str, Minter]
) -> AsyncIterator[Way]:
    url, minter = gateway
    way = Way(hands, hands.service.components, minter, url)
    if request.param == "through_the_api":
        way.components = way.by(minter.worker(ANN))
    yield way
    for transport in way.opened:
        await transport.close()


# -- the record ----------------------------------------------------------------------------------


async def test_a_prepared_component_is_listed_as_live(way: Way) -> None:
    await way.prepared("c-1")

    assert await way.listed() == [("c-1", "live")]


async def test_one_that_is_silent_for_three_intervals_is_stale_until_it_is_heard(way: Way) -> None:
    beat = await way.prepared("c-1")

    await way.hands.runtime.advance(15.5)
    assert await way.listed() == [("c-1", "stale")]
    await way.components.beat_component(beat)

    assert await way.listed() == [("c-1", "live")]


async def test_who_takes_a_place_fences_off_who_had_it(way: Way) -> None:
    old = await way.prepared("c-1")
    new = await way.prepared("c-2")

    with pytest.raises(StaleFence):
        await way.components.beat_component(old)
    with pytest.raises(StaleFence):
        await way.components.complete_component(
            c.CompleteComponent(component_id="c-1", fence=old.fence)
        )

    assert new.fence == old.fence + 1
    assert await way.listed(with_ended=True) == [("c-2", "live"), ("c-1", "ended")]


async def test_a_fence_that_is_not_its_own_is_refused(way: Way) -> None:
    beat = await way.prepared("c-1")

    with pytest.raises(StaleFence):
        await way.components.beat_component(beat.model_copy(update={"fence": beat.fence + 1}))


async def test_one_that_has_ended_is_listed_on_request_and_beats_no_more(way: Way) -> None:
    beat = await way.prepared("c-1")
    done = c.CompleteComponent(component_id="c-1", fence=beat.fence, reason="drained")

    await way.components.complete_component(done)

    assert await way.listed() == []
    assert await way.listed(with_ended=True) == [("c-1", "ended")]
    with pytest.raises(StaleFence):
        await way.components.beat_component(beat)


async def test_every_verb_can_be_sent_twice(way: Way) -> None:
    beat = await way.prepared("c-1")

    assert await way.prepared("c-1") == beat
    for _ in range(2):
        await way.components.complete_component(
            c.CompleteComponent(component_id="c-1", fence=beat.fence)
        )

    assert await way.listed(with_ended=True) == [("c-1", "ended")]


async def test_others_have_places_of_their_own(way: Way) -> None:
    await way.prepared("c-1", name="box")
    await way.prepared("c-2", name="bay")

    assert await way.listed() == [("c-2", "live"), ("c-1", "live")]


async def test_what_was_never_recorded_is_unknown(way: Way) -> None:
    with pytest.raises(UnknownComponent):
        await way.components.beat_component(c.ComponentBeat(component_id="c-9", fence=1))


# -- at the gateway ------------------------------------------------------------------------------


async def test_a_worker_speaks_for_itself_alone(way: Way) -> None:
    ann, ben = (way.by(way.minter.worker(WorkerId(name))) for name in ("ann", "ben"))
    await ann.create_component(a_worker("c-1"))

    with pytest.raises(UnknownComponent):
        await ben.prepare_component(c.PrepareComponent(component_id="c-1"))
    with pytest.raises(Forbidden, match="a worker cannot be a scheduler"):
        await ann.create_component(a_worker("c-2", kind="scheduler"))
    with pytest.raises(Unauthenticated):
        await way.by(None).create_component(a_worker("c-3"))


async def test_people_look_by_their_role(way: Way, gateway: tuple[str, Minter]) -> None:
    service, minter = way.hands.service, way.minter
    verifier = Verifier(KEY.public_key(), way.hands.runtime)
    server = Server(build_jobstore_app(service, verifier, service.execution), "127.0.0.1", 0)
    await server.start()
    token = minter.client("eve", Role.VIEWER)
    transport = Transport(server.url, way.hands.runtime, token=lambda: token, service="jobstore")
    await way.prepared("c-1")

    found = await JobsClient(transport).components.list_components(c.ComponentFilter())

    assert [one.component_id for one in found.components] == ["c-1"]
    await transport.close()
    await server.stop()


# -- the runner ----------------------------------------------------------------------------------


class APart:
    """Knows whether it executes, and what was recorded when it began to."""

    def __init__(self, way: Way) -> None:
        self._way = way
        self._executes = False
        self.recorded: list[tuple[str, str]] = []
        self.failure: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def start(self) -> None:
        self.recorded = await self._way.listed()
        self._executes = True

    async def stop(self) -> None:
        self._executes = False

    def executes(self) -> bool:
        return self._executes


def a_runner(way: Way, part: APart, heard: list[ServiceError | None]) -> ComponentRunner:
    return ComponentRunner(
        part, way.components, way.hands.runtime, kind="worker", name="box", heard=heard.append
    )


async def test_a_part_is_prepared_executed_heard_of_and_completed(way: Way) -> None:
    part, heard = APart(way), list[ServiceError | None]()
    runner = a_runner(way, part, heard)

    await runner.start()
    assert part.executes()
    assert [state for _, state in part.recorded] == ["live"]
    for _ in range(10):  # each beat is a minute of silence ended in time
        await way.hands.runtime.advance(BEAT_S)
        await runner.beat_once()
    assert [state for _, state in await way.listed()] == ["live"]
    assert set(heard) == {None}
    assert len(heard) >= 11
    await runner.stop()

    assert not part.executes()
    assert [state for _, state in await way.listed(with_ended=True)] == ["ended"]


async def test_a_part_whose_place_is_taken_hears_of_it_once(way: Way) -> None:
    part, heard = APart(way), list[ServiceError | None]()
    runner = a_runner(way, part, heard)
    await runner.start()

    await way.prepared("c-2")
    await runner.beat_once()
    await runner.beat_once()

    assert [type(one) for one in heard] == [type(None), StaleFence]
    await runner.stop()
    assert ("c-2", "live") in await way.listed()


async def test_a_part_of_the_job_service_fails_when_another_has_its_place(way: Way) -> None:
    runner = ComponentRunner(
        APart(way), way.components, way.hands.runtime, kind="worker", name="box"
    )
    await runner.start()

    await way.prepared("c-2")
    await runner.beat_once()

    with pytest.raises(StaleFence):
        await runner.failure
    await runner.stop()


async def test_a_part_that_fails_fails_its_runner(way: Way) -> None:
    part = APart(way)
    runner = a_runner(way, part, [])
    await runner.start()

    part.failure.set_exception(RuntimeError("broke"))

    with pytest.raises(RuntimeError, match="broke"):
        await runner.failure
    await runner.stop()


class Away:
    """`Components` that nobody answers for, until somebody does."""

    def __init__(self, there: Components) -> None:
        self.there = there
        self.is_away = True

    def __getattr__(self, verb: str) -> object:
        if self.is_away:
            raise Unavailable(service="gateway")
        return getattr(self.there, verb)


async def test_a_part_works_while_nobody_takes_its_record(way: Way) -> None:
    away = Away(way.components)
    part = APart(way)
    runner = ComponentRunner(
        part,
        away,  # type: ignore[arg-type]  # it answers for every verb
        way.hands.runtime,
        kind="worker",
        name="box",
    )

    await runner.start()
    assert part.executes()
    assert await way.listed() == []
    away.is_away = False
    await way.hands.runtime.advance(FIRST_S)
    await runner.beat_once()

    assert [state for _, state in await way.listed()] == ["live"]
    await runner.stop()
