"""Messages over HTTP: signed for webhooks, plain for Slack and Teams, whose URLs are the secret."""

import hashlib
import hmac
import ssl
from collections.abc import Mapping
from typing import Final
from urllib.parse import urlsplit

import aiohttp
from yarl import URL

from jobstore.notifications.errors import NotSent, connect_problem
from jobstore.notifications.settings import NotificationSettings
from shared.runtime import Runtime

TIMESTAMP: Final = "Drawbar-Timestamp"
SIGNATURE: Final = "Drawbar-Signature"
DELIVERY: Final = "Drawbar-Delivery"
GONE: Final = 410  # the one status by which a receiver says: never again
REPLY_BYTES: Final = 4_096  # of what is answered; nothing in it matters


def sign(secret: str, timestamp: str, body: bytes) -> str:
    """`v1=` and the HMAC-SHA256 of the timestamp, a dot, and the body as it is sent."""
    text = timestamp.encode() + b"." + body
    return "v1=" + hmac.new(secret.encode(), text, hashlib.sha256).hexdigest()


def host_of(url: str) -> str:
    return urlsplit(url).hostname or ""


class Web:
    """One client for all of them. It follows no redirect, keeps no cookie, knows no proxy."""

    def __init__(self, settings: NotificationSettings, runtime: Runtime) -> None:
        self._settings = settings
        self._runtime = runtime
        self._session: aiohttp.ClientSession | None = None

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def post_signed(self, url: str, body: bytes, delivery: str, tls: ssl.SSLContext) -> None:
        """The receiver can tell who sent it, when, and whether it came before."""
        timestamp = str(int(self._runtime.now().timestamp()))
        headers = {DELIVERY: delivery, TIMESTAMP: timestamp}
        if self._settings.webhook_secret is not None:
            headers[SIGNATURE] = sign(self._settings.webhook_secret, timestamp, body)
        await self.post(url, body, headers, tls)

    async def post(
        self, url: str, body: bytes, headers: Mapping[str, str], tls: ssl.SSLContext
    ) -> None:
        """The receiver answered with a 2xx. NotSent: it did not, or is not to be sent to."""
        host = host_of(url)
        if not self._settings.allows(host):
            raise NotSent(f"{host} is not among the hosts that may be sent to")
        if self._session is None:
            self._session = aiohttp.ClientSession(
                timeout=aiohttp.ClientTimeout(total=self._settings.patience_s),
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,
            )
        sent = {"Content-Type": "application/json", "User-Agent": "drawbar", **headers}
        try:
            async with self._session.post(
                URL(url), data=body, headers=sent, allow_redirects=False, ssl=tls
            ) as response:
                status = response.status
                await response.content.read(REPLY_BYTES)
                response.close()  # whatever else it says is not waited for
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise NotSent(f"{host}: {_plainly(error)}") from None
        if 300 <= status < 400:
            raise NotSent(f"{host} answered {status}: redirects are not followed")
        if not 200 <= status < 300:
            raise NotSent(f"{host} answered {status}", is_final=status == GONE)


def _plainly(error: Exception) -> str:
    """Words of our own: those of the library may quote the URL."""
    if isinstance(error, TimeoutError):
        return "it did not answer in time"
    if isinstance(error, aiohttp.ClientConnectorCertificateError | ssl.SSLError):
        return "its certificate is not trusted"
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return "its name cannot be resolved"
    if isinstance(error, aiohttp.ClientConnectorError):
        return connect_problem(error.os_error)
    if isinstance(error, aiohttp.ServerDisconnectedError):
        return "it closed the connection"
    return type(error).__name__
