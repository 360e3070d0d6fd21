"""Real registries for tests, and the ways in which a verb can travel to one."""

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from registry.app import build_app
from registry.service import RegistryService, RegistrySettings
from shared.http.clients import RegistryClient
from shared.http.server import Server
from shared.http.transport import Credential, Transport
from shared.ids import WorkerId
from shared.protocol.registry import (
    EnrolReply,
    EnrolRequest,
    SettingsRequest,
    StatusReport,
    WishRequest,
)
from shared.protocol.states import Desired, WorkerStatus
from shared.runtime import Runtime
from shared.services import Registry
from shared.tokens import Minter, Role, Verifier
from tests.support.carriers import KEY

SECRET = "correct horse battery staple"
SETTINGS = RegistrySettings(report_s=5.0, silent_after_s=20.0)


@dataclass
class Carrier:
    """A registry as its callers see it: each worker has a client of its own."""

    worker: Callable[[], Registry]
    people: Registry


@asynccontextmanager
async def a_registry(folder: Path, runtime: Runtime) -> AsyncIterator[RegistryService]:
    """A started registry on the database in `folder`."""
    service = RegistryService(folder / "registry.db", runtime, SETTINGS)
    await service.start()
    try:
        yield service
    finally:
        await service.stop()


@asynccontextmanager
async def direct(service: Registry, _: Runtime) -> AsyncIterator[Carrier]:
    """The object itself, as in the embedded mode."""
    yield Carrier(worker=lambda: service, people=service)


@asynccontextmanager
async def over_http(service: Registry, runtime: Runtime) -> AsyncIterator[Carrier]:
    """Over real sockets, with real tokens."""
    verifier = Verifier(KEY.public_key(), runtime)
    minter = Minter(KEY, runtime, verifier)
    operator = minter.client("ann", Role.OPERATOR)
    server = Server(build_app(service, verifier, minter, SECRET), "127.0.0.1", 0, linger_s=0.05)
    async with AsyncExitStack() as stack:
        await server.start()
        stack.push_async_callback(server.stop)

        def transport(token: Callable[[], str | None]) -> Transport:
            opened = Transport(server.url, runtime, token=token, service="registry")
            stack.push_async_callback(opened.close)
            return opened

        def worker() -> Registry:
            credential = Credential()
            return RegistryClient(
                transport(credential), enrolment_secret=SECRET, credential=credential
            )

        yield Carrier(worker=worker, people=RegistryClient(transport(lambda: operator)))


def an_enrolment(name: str = "quick", *, slots: int = 2, pid: int = 41) -> EnrolRequest:
    return EnrolRequest(
        name=name, host="host-1", pid=pid, version="0.1.0", labels={"os": "linux"}, slots=slots
    )


def a_report(
    of: EnrolReply,
    status: WorkerStatus = WorkerStatus.READY,
    *,
    attempts: tuple[str, ...] = (),
    free_slots: int = 2,
) -> StatusReport:
    return StatusReport(
        worker_id=WorkerId(of.worker_id),
        incarnation=of.incarnation,
        status=status,
        attempts=attempts,
        free_slots=free_slots,
    )


def a_wish(
    desired: Desired,
    *,
    deadline_s: float | None = None,
    for_s: float | None = None,
    is_now: bool = False,
) -> WishRequest:
    return WishRequest(
        desired=desired,
        reason="maintenance",
        deadline_s=deadline_s,
        for_s=for_s,
        is_now=is_now,
        by="ann",
    )


def a_change(
    *, slots: int | None = None, is_reset: bool = False, **labels: str | None
) -> SettingsRequest:
    return SettingsRequest(
        slots=slots, labels=labels, is_reset=is_reset, reason="a new card", by="ann"
    )
