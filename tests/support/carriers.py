"""The ways in which a verb can travel to a job service, for contracts that hold on each."""

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import cache

from aiohttp import web
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from gateway.app import build_app as build_gateway_app
from gateway.service import GatewayService
from jobstore.app import build_app
from shared.http.clients import GatewayClient, JobsClient
from shared.http.server import Server
from shared.http.transport import Transport
from shared.ids import WorkerId
from shared.renewal import AttemptTokens
from shared.runtime import Runtime
from shared.services import Gateway, WholeJobService
from shared.tokens import Minter, Role, Verifier
from tests.support.execution import MemoryExecution

KEY = Ed25519PrivateKey.from_private_bytes(b"test" * 8)


@dataclass
class Carrier:
    """One service as its callers see it."""

    gateway: Callable[[WorkerId], Gateway]
    jobs: WholeJobService


@asynccontextmanager
async def direct(service: WholeJobService, _: Runtime) -> AsyncIterator[Carrier]:
    """The object itself, as in the embedded mode."""
    yield Carrier(gateway=lambda _: service, jobs=service)


@asynccontextmanager
async def over_http(service: WholeJobService, runtime: Runtime) -> AsyncIterator[Carrier]:
    """Worker → gateway → job service, and people → job service, over real sockets."""
    verifier = Verifier(KEY.public_key(), runtime)
    minter = Minter(KEY, runtime, verifier)
    async with AsyncExitStack() as stack:

        async def serve(app: web.Application) -> str:
            server = Server(app, "127.0.0.1", 0, linger_s=0.05)
            await server.start()
            stack.push_async_callback(server.stop)
            return server.url

        def transport(url: str, token: str, service: str) -> Transport:
            opened = Transport(url, runtime, token=lambda: token, service=service)
            stack.push_async_callback(opened.close)
            return opened

        jobstore = await serve(build_app(service, verifier, MemoryExecution()))
        forward = JobsClient(transport(jobstore, minter.service("gateway"), "jobstore"))
        service_at_the_gateway = GatewayService(forward, runtime)
        gateway = await serve(
            build_gateway_app(
                service_at_the_gateway,
                verifier,
                AttemptTokens(minter, runtime),
                MemoryExecution(),
                forward,
            )
        )

        @cache  # a worker has one client: it keeps the tokens of its attempts
        def client_of(worker: WorkerId) -> Gateway:
            return GatewayClient(transport(gateway, minter.worker(worker), "gateway"))

        yield Carrier(
            gateway=client_of,
            jobs=JobsClient(transport(jobstore, minter.client("ann", Role.ADMIN), "jobstore")),
        )
