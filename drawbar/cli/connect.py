"""How commands reach the services: over HTTP, with a token that was given or is made on the spot.

Without a server, what people ask of past runs is answered from the data directory itself.
"""

import asyncio
import getpass
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar
from urllib.parse import urlsplit

from drawbar.cli.failures import Usage
from drawbar.cli.places import data_dir
from shared.errors import Misconfigured, NotFound, ServiceError, Unavailable
from shared.runtime import Runtime, SystemRuntime
from shared.services import Registry, WholeJobService

if TYPE_CHECKING:  # HTTP costs a tenth of a second, which local commands need not pay
    from shared.http.transport import Transport

T = TypeVar("T")

JOBSTORE_URL: Final = "http://127.0.0.1:7402"
REGISTRY_URL: Final = "http://127.0.0.1:7401"
RETRY_S: Final = 2.0  # a service that is being restarted, or sheds load, is met again
TOKEN_S: Final = 3_600.0  # of a token that one command makes for itself


def asking_jobs(
    verb: Callable[[WholeJobService, Runtime], Awaitable[T]],
    server: str | None,
    data: Path | None,
    *,
    only_looks: bool = False,
    may_begin: bool = False,
) -> T:
    """What `verb` returned. See `job_service`."""

    async def ask() -> T:
        async with job_service(server, data, only_looks=only_looks, may_begin=may_begin) as jobs:
            return await verb(jobs, SystemRuntime())

    return asyncio.run(ask())


def asking_registry(
    verb: Callable[[Registry], Awaitable[T]], url: str | None, data: Path | None
) -> T:
    """What `verb` returned."""

    async def ask() -> T:
        from shared.http.clients import RegistryClient

        async with _transport("--registry", url or REGISTRY_URL, "registry", data) as transport:
            return await verb(RegistryClient(transport))

    return asyncio.run(ask())


async def with_now(answer: Awaitable[T], runtime: Runtime) -> tuple[T, datetime]:
    """The answer, and the moment at which it was true."""
    return await answer, runtime.now()


@asynccontextmanager
async def job_service(
    server: str | None,
    data: Path | None,
    *,
    only_looks: bool = False,
    follows: bool = False,
    may_begin: bool = False,
) -> AsyncIterator[WholeJobService]:
    """The job service at `server`, or where it is by default.

    Who `only_looks` at what was need not start one: what `drawbar run` did is in the data
    directory, and is read from there when no server is named and none serves from it; a run that
    goes on there is asked itself. Who `follows` needs somebody who works, and no files. Who
    `may_begin` needs no run before: the files are made where there is no installation yet.
    """
    place = data_dir(data)
    names_none = server is None and not os.environ.get("DRAWBAR_TOKEN")
    has_files = (place / "jobstore" / "jobs.db").exists()
    # Without a key no service would answer us.
    begins = may_begin and not signing_key_file(data).exists()
    if only_looks and names_none and (has_files or begins):
        from drawbar.cli.deciding import where_a_run_is_seen
        from drawbar.cli.holding import held_to_look

        if url := await where_a_run_is_seen(place):
            async with _asked(url, data) as jobs:
                yield jobs
            return
        if not follows:
            with held_to_look(place) as is_ours:
                if is_ours:
                    async with _from_disk(place) as jobs:
                        yield jobs
                    return
    async with _asked(server or JOBSTORE_URL, data) as jobs:
        yield jobs


@asynccontextmanager
async def _asked(url: str, data: Path | None) -> AsyncIterator[WholeJobService]:
    from shared.http.clients import JobsClient

    async with _transport("--server", url, "job service", data) as transport:
        yield JobsClient(transport, retry_for_s=RETRY_S)


@asynccontextmanager
async def _from_disk(place: Path) -> AsyncIterator[WholeJobService]:
    from jobstore.execution_data.vault import Vault, keys_from
    from jobstore.service import JobStoreService
    from shared import logs
    from shared.files import DiskFiles

    runtime = SystemRuntime()
    logs.configure(runtime, level="error")
    folder = place / "jobstore"
    vault = Vault(keys_from(place / "keys", runtime, os.environ))
    jobs = JobStoreService(
        folder / "jobs.db", DiskFiles(folder / "files", runtime), runtime, vault=vault
    )
    try:
        await jobs.start()
        yield jobs
    finally:
        await jobs.stop()


@asynccontextmanager
async def _transport(
    option: str, url: str, service: str, data: Path | None
) -> "AsyncIterator[Transport]":
    from shared.http.transport import Transport

    checked_url(option, url)
    token = client_token(data)
    transport = Transport(url, SystemRuntime(), token=lambda: token, service=service)
    try:
        yield transport
    except Unavailable as error:
        if "cannot be reached" not in error.message:
            raise
        why = error.message.partition("cannot be reached: ")[2]
        detail = "" if "onnect" in why else f" ({why})"  # refused: the question says it
        raise Unavailable(
            f"cannot reach the {service} at {url}: is it running? "
            f"start it with 'drawbar up'{detail}",
            service=service,
        ) from None
    except ServiceError as error:
        is_elsewhere = type(error) is NotFound and "path" in error.facts  # the path, not the thing
        if is_elsewhere or f"not as a {service} does" in error.message:
            raise Misconfigured(f"{url} is not a {service}") from None
        raise
    finally:
        await transport.close()


def checked_url(option: str, url: str) -> str:
    """A URL that can be asked. Without this check a mistyped one looks like an outage."""
    try:
        parts = urlsplit(url)
        is_good = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # a port that is no number, or half of an IPv6 address
        is_good = False
    if not is_good:
        raise Usage(f"{option} takes a URL, for example http://127.0.0.1:7400; found {url!r}")
    return url


def client_token(data: Path | None) -> str | None:
    """DRAWBAR_TOKEN; else one made with this installation's key, if we may read that; else None."""
    given = os.environ.get("DRAWBAR_TOKEN")
    if given:
        return given
    key_file = signing_key_file(data)
    if not os.access(key_file, os.R_OK):
        return None
    from shared.keys import read_signing_key
    from shared.tokens import Minter, Role

    minter = Minter(read_signing_key(key_file), SystemRuntime())
    return minter.client(getpass.getuser(), Role.ADMIN, TOKEN_S)


def signing_key_file(data: Path | None) -> Path:
    """Where the key is, or would be."""
    named = os.environ.get("DRAWBAR_SIGNING_KEY_FILE")
    return Path(named) if named else data_dir(data) / "keys" / "signing.pem"
