"""Simulated streams keep TCP's promises, and break them only as TCP would."""

import asyncio

from simulation.network import Socket
from simulation.process import Process
from tests.simulation.universe import Universe, universe

PORT = 80


class Ear(asyncio.Protocol):
    """What one end of a connection heard."""

    def __init__(self) -> None:
        self.heard = bytearray()
        self.pieces = 0
        self.ended: list[str] = []
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.heard += data
        self.pieces += 1

    def connection_lost(self, exc: Exception | None) -> None:
        self.ended.append(type(exc).__name__)


class Line:
    """A connection from machine `a` to machine `b`."""

    def __init__(self, u: Universe) -> None:
        self.u = u
        self.a, self.b = u.process("a"), u.process("b")
        self.near, self.far = Ear(), Ear()

    async def open(self) -> None:
        await self.b.spawn(self._listen(), "listen")
        await self.a.spawn(self._connect(), "connect")
        await asyncio.sleep(1)

    def say(self, data: bytes) -> None:
        assert self.near.transport is not None
        self.near.transport.write(data)

    async def _listen(self) -> None:
        await self.u.loop.create_server(lambda: self.far, "0.0.0.0", PORT)

    async def _connect(self) -> None:
        sock = Socket()
        await self.u.loop.sock_connect(sock, (self.u.network.address_of("b"), PORT))
        await self.u.loop.create_connection(lambda: self.near, sock=sock)


def links(a: Process, b: Process) -> set[tuple[str, str]]:
    return {(a.name, b.name), (b.name, a.name)}


def test_bytes_arrive_in_order_and_in_other_pieces_than_they_were_sent() -> None:
    with universe() as u:
        line = Line(u)
        sent = [bytes([n]) * 50 for n in range(100)]

        async def scenario() -> None:
            await line.open()
            for data in sent:
                line.say(data)
            await asyncio.sleep(5)

        u.play(scenario)

        assert bytes(line.far.heard) == b"".join(sent)
        assert line.far.pieces > len(sent)


def test_a_cut_link_holds_bytes_back_until_it_heals() -> None:
    with universe() as u:
        line = Line(u)

        async def scenario() -> None:
            await line.open()
            u.network.cut |= links(line.a, line.b)
            line.say(b"one")
            await asyncio.sleep(30)
            assert not line.far.heard
            line.say(b"two")
            u.network.heal()
            await asyncio.sleep(1)

        u.play(scenario)

        assert bytes(line.far.heard) == b"onetwo"
        assert line.near.ended == line.far.ended == []


def test_a_one_way_cut_lets_the_other_way_through() -> None:
    with universe() as u:
        line = Line(u)

        async def scenario() -> None:
            await line.open()
            u.network.cut.add(("b", "a"))
            line.say(b"question")
            assert line.far.transport is not None
            line.far.transport.write(b"answer")
            await asyncio.sleep(5)

        u.play(scenario)

        assert bytes(line.far.heard) == b"question"
        assert not line.near.heard


def test_a_killed_process_resets_its_connections() -> None:
    with universe() as u:
        line = Line(u)

        async def scenario() -> None:
            await line.open()
            line.b.kill()
            await asyncio.sleep(1)

        u.play(scenario)

        assert line.near.ended == ["ConnectionResetError"]


def test_a_loss_of_power_is_silent_until_the_machine_is_back() -> None:
    with universe() as u:
        line = Line(u)

        async def scenario() -> None:
            await line.open()
            line.b.machine.is_powered = False
            line.b.kill()
            line.say(b"are you there?")
            await asyncio.sleep(30)
            assert line.near.ended == []
            line.b.machine.power_on()
            await asyncio.sleep(1)

        u.play(scenario)

        assert line.near.ended == ["ConnectionResetError"]


def test_a_reset_reaches_both_ends() -> None:
    with universe() as u:
        line = Line(u)

        async def scenario() -> None:
            await line.open()
            u.network.reset_connections(line.a)
            await asyncio.sleep(1)

        u.play(scenario)

        assert line.near.ended == line.far.ended == ["ConnectionResetError"]


def test_a_writer_is_told_to_wait_for_a_reader_that_does_not_read() -> None:
    with universe() as u:
        line = Line(u)
        told: list[str] = []
        line.near.pause_writing = lambda: told.append("pause")  # type: ignore[method-assign]
        line.near.resume_writing = lambda: told.append("resume")  # type: ignore[method-assign]

        async def scenario() -> None:
            await line.open()
            assert line.far.transport is not None
            line.far.transport.pause_reading()
            line.say(b"x" * 200_000)
            await asyncio.sleep(5)
            assert told == ["pause"]
            line.far.transport.resume_reading()
            await asyncio.sleep(5)

        u.play(scenario)

        assert told == ["pause", "resume"]
        assert len(line.far.heard) == 200_000


def digest_when_it_says(data: bytes) -> str:
    with universe() as u:
        line = Line(u)

        async def scenario() -> None:
            await line.open()
            line.say(data)
            await asyncio.sleep(1)

        u.play(scenario)
        return u.loop.digest


def test_another_byte_on_the_wire_is_another_digest() -> None:
    assert digest_when_it_says(b"a secret") == digest_when_it_says(b"a secret")
    assert digest_when_it_says(b"a secret") != digest_when_it_says(b"a secreT")
