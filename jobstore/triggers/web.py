"""Asks servers whether what a task waits for is so: one request, its answer bounded in every way.

A task names the URL, and the job service asks: so it must not become a way to what only this
machine may reach. Addresses are judged where they are used, after the name was resolved.
"""

import asyncio
import ipaddress
import ssl
from collections.abc import Sequence
from typing import Any, Final
from urllib.parse import urlsplit

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from pydantic import JsonValue

from jobstore.triggers.conditions import NotMet, check_body
from jobstore.triggers.kinds import Http
from jobstore.triggers.ports import MayNot, NotYet
from shared.protocol.execution import Connection
from shared.runtime import Runtime

MAX_BODY_BYTES: Final = 256 * 1024
MAX_PART_CHARS: Final = 16_384  # of the selected part, in the event


class Servers:
    """`Web` on aiohttp. It follows no redirect, keeps no cookie, knows no proxy.

    Without `hosts` every server may be asked but those on this machine and on its link, where
    clouds keep credentials; with `hosts` those, wherever they are, and no others.
    """

    def __init__(self, hosts: Sequence[str], runtime: Runtime, *, is_own: bool = False) -> None:
        """`is_own`: whoever draws the tasks owns this machine, and may have everything asked."""
        self._hosts = tuple(host.lower().rstrip(".") for host in hosts)
        self._is_own = is_own
        self._runtime = runtime
        self._session: aiohttp.ClientSession | None = None
        self._tls: ssl.SSLContext | None = None

    def lane(self, wanted: Http) -> str:
        return urlsplit(wanted.url).netloc

    async def look(self, wanted: Http, login: Connection | None) -> JsonValue:
        host = (urlsplit(wanted.url).hostname or "").lower().rstrip(".")
        headers = {"User-Agent": "drawbar", "Accept": "*/*", **wanted.headers, **_login(login)}
        session = await self._open()
        try:
            self._check_host(host)
            async with session.request(
                wanted.method,
                wanted.url,
                headers=headers,
                allow_redirects=False,
                ssl=self._tls or True,
            ) as response:
                self._check_peer(response, host)
                body = await _read(response.content)
                response.close()  # whatever else it says is not waited for
                return _judge(wanted, response.status, body)
        except _Near as near:
            raise MayNot(str(near)) from None
        except aiohttp.InvalidURL:
            raise MayNot(f"{host} is no name or address of a server") from None
        except (aiohttp.ClientError, OSError, ValueError) as error:
            near_one = _cause(error)
            if near_one is not None:
                raise MayNot(str(near_one)) from None
            raise NotYet(_plainly(error)) from None

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    # -- details -------------------------------------------------------------------------------

    async def _open(self) -> aiohttp.ClientSession:
        if self._tls is None:
            self._tls = await self._runtime.offload(ssl.create_default_context)
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(
                    resolver=_Resolver(self), limit=32, keepalive_timeout=15.0
                ),
                cookie_jar=aiohttp.DummyCookieJar(),
                timeout=aiohttp.ClientTimeout(total=60.0),
            )
        return self._session

    def _check_host(self, host: str) -> None:
        if self._is_own:
            return
        if self._hosts and not self.is_named(host):
            raise MayNot(f"{host} is not among the hosts that --trigger-host names")
        try:
            address = ipaddress.ip_address(host)
        except ValueError:
            return  # a name: its addresses are judged when it was resolved
        self.check_address(str(address), host)

    def is_named(self, host: str) -> bool:
        return any(
            host.endswith(named[1:]) if named.startswith("*.") else host == named
            for named in self._hosts
        )

    def check_address(self, text: str, host: str) -> None:
        """_Near: it is this machine's own, or its link's, and nobody said that it may be asked."""
        if self._is_own or self.is_named(host):
            return
        address = ipaddress.ip_address(text.partition("%")[0])
        if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
            address = address.ipv4_mapped
        if (
            address.is_loopback
            or address.is_link_local
            or address.is_unspecified
            or address.is_multicast
        ):
            raise _Near(
                f"{host} is on the job service's own machine or link: it is asked only when it "
                f"was started with --trigger-host {host}"
            )

    def _check_peer(self, response: aiohttp.ClientResponse, host: str) -> None:
        """Whatever the name was resolved to: this is who answers."""
        connection = response.connection
        transport = None if connection is None else connection.transport
        peer = None if transport is None else transport.get_extra_info("peername")
        if peer:
            self.check_address(peer[0], host)


class _Near(OSError):
    """An address that may not be asked."""


class _Resolver(AbstractResolver):
    """The system's, without the addresses that may not be asked."""

    def __init__(self, servers: Servers) -> None:
        self._servers = servers
        self._inner = aiohttp.ThreadedResolver()

    async def resolve(self, host: str, port: int = 0, family: Any = 0) -> list[ResolveResult]:
        found = await self._inner.resolve(host, port, family)
        for one in found:
            self._servers.check_address(one["host"], host.lower().rstrip("."))
        return found

    async def close(self) -> None:
        await self._inner.close()


async def _read(content: aiohttp.StreamReader) -> bytes:
    body = bytearray()
    async for piece in content.iter_any():
        body += piece
        if len(body) > MAX_BODY_BYTES:
            raise NotYet(f"the answer has more than {MAX_BODY_BYTES} bytes")
    return bytes(body)


def _judge(wanted: Http, status: int, body: bytes) -> JsonValue:
    """The event. NotYet says what there is instead of what is waited for."""
    if status not in wanted.status if wanted.status else not 200 <= status < 300:
        raise NotYet(f"it answered {status}")
    equals = (wanted.equals,) if "equals" in wanted.model_fields_set else ()
    try:
        part = check_body(body, wanted.select, equals, wanted.matches)
    except NotMet as error:
        raise NotYet(f"it answered {status}, but {error}") from None
    event: dict[str, JsonValue] = {"status": status}
    if wanted.select is not None:
        event["selected"] = part[:MAX_PART_CHARS] if isinstance(part, str) else part
    return event


def _login(connection: Connection | None) -> dict[str, str]:
    """A token from `extra`, or user and password."""
    if connection is None:
        return {}
    token = connection.extra.get("token")
    if isinstance(token, str):
        return {"Authorization": f"Bearer {token}"}
    user, password = connection.user or "", connection.password or ""
    return {"Authorization": aiohttp.encode_basic_auth(user, password)}


def _cause(error: BaseException | None) -> "_Near | None":
    """The address that may not be asked, where that is what went wrong."""
    while error is not None:
        if isinstance(error, _Near):
            return error
        inner = getattr(error, "os_error", None)
        error = inner if isinstance(inner, BaseException) else error.__cause__ or error.__context__
    return None


def _plainly(error: Exception) -> str:
    """Words of our own: those of the library may quote the URL."""
    if isinstance(error, asyncio.TimeoutError):
        return "it did not answer in time"
    if isinstance(error, aiohttp.ClientConnectorCertificateError | ssl.SSLError):
        return "its certificate is not trusted"
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return "its name cannot be resolved"
    if isinstance(error, aiohttp.ClientConnectorError):
        return error.os_error.strerror or "it cannot be reached"
    if isinstance(error, aiohttp.ServerDisconnectedError):
        return "it closed the connection"
    return type(error).__name__
