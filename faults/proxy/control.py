"""`/v1/proxies` of a process of proxies: see them, and change what goes wrong there."""

from collections.abc import Mapping

from aiohttp import web
from pydantic import Field

from faults.proxy.proxy import Proxy
from faults.proxy.words import ProxyFault
from shared.errors import NotFound
from shared.http.identity import require_role
from shared.http.server import new_app, read_message, reply
from shared.protocol.base import Message
from shared.tokens import Audience, Role, Verifier


class ProxyFaults(Message):
    """What is to be on from now on, instead of what was."""

    faults: tuple[ProxyFault, ...] = Field(max_length=100)


class ProxyView(Message):
    name: str
    listen: str
    upstream: str
    protocol: str
    faults: tuple[ProxyFault, ...]
    strikes: dict[str, int]  # since the start, by kind


class ProxyList(Message):
    proxies: tuple[ProxyView, ...]


def build_app(proxies: Mapping[str, Proxy], verifier: Verifier) -> web.Application:
    """Only an admin may break things; the job service's tokens open this door, too."""

    async def ready() -> None:
        """Whoever answers, proxies."""

    app = new_app(ready)

    def allowed(request: web.Request) -> None:
        require_role(verifier, request, Audience.JOBSTORE, Role.ADMIN)

    def named(request: web.Request) -> Proxy:
        name = request.match_info["name"]
        if name not in proxies:
            raise NotFound(f"there is no proxy {name!r}; there are {', '.join(sorted(proxies))}")
        return proxies[name]

    async def see(request: web.Request) -> web.Response:
        """200: every proxy, with its faults."""
        allowed(request)
        return reply(ProxyList(proxies=tuple(view_of(proxy) for proxy in proxies.values())))

    async def put(request: web.Request) -> web.Response:
        """200: these faults are on, and no others."""
        allowed(request)
        proxy = named(request)
        proxy.put((await read_message(request, ProxyFaults)).faults)
        return reply(view_of(proxy))

    async def take_away(request: web.Request) -> web.Response:
        """200: none is on."""
        allowed(request)
        proxy = named(request)
        proxy.put(())
        return reply(view_of(proxy))

    one = "/v1/proxies/{name:[^/]+}/faults"
    app.add_routes(
        [
            web.get("/v1/proxies", see, allow_head=False),
            web.put(one, put),
            web.delete(one, take_away),
        ]
    )
    return app


def view_of(proxy: Proxy) -> ProxyView:
    host, port = proxy.upstream
    return ProxyView(
        name=proxy.name,
        listen=f"{proxy.host}:{proxy.port}",
        upstream=f"{host}:{port}",
        protocol=proxy.protocol,
        faults=tuple(active.fault for active in proxy.board.active),
        strikes=dict(proxy.board.strikes),
    )
