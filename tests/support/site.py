"""A job service and a gateway before it on real sockets, with the real store and a moved clock."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

import gateway.app
import jobstore.app
from shared.renewal import AttemptTokens
from shared.tokens import Minter, Verifier
from tests.support.http import Caller, serving
from tests.support.jobstore import Hands

SIGNING = Ed25519PrivateKey.generate()


@dataclass(frozen=True)
class Site:
    gate: Caller
    jobs: Caller
    hands: Hands
    minter: Minter


@asynccontextmanager
async def site_of(hands: Hands) -> AsyncIterator[Site]:
    """What `hands` serves, for workers at the gateway's routes and for people at its own."""
    verifier = Verifier(SIGNING.public_key(), hands.runtime)
    minter = Minter(SIGNING, hands.runtime, verifier)
    service = hands.service
    tokens = AttemptTokens(minter, hands.runtime)
    people = jobstore.app.build_app(service, verifier, service.execution)
    workers = gateway.app.build_app(service, verifier, tokens, service.execution, service)
    async with serving(people) as jobs, serving(workers) as gate:
        yield Site(gate, jobs, hands, minter)


async def speak(call: Caller, *pieces: bytes) -> bytes:
    """All that the service answers to these bytes, until it closes the connection."""
    host, port = call.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
        writer.write_eof()
        async with asyncio.timeout(10):
            return await reader.read()
    except ConnectionError:  # it hung up in the middle of what we had to say
        return b""
    finally:
        writer.close()
