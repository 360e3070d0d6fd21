"""Raw requests, as anybody would send them: none of drawbar's own clients stands in between."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Final

import aiohttp

from drawbar.conformance.case import Breach, Unproved

PATIENCE_S: Final = 15.0  # for one answer


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back."""

    asked: str
    status: int
    headers: Mapping[str, str]
    body: bytes

    def is_(self, status: int, code: str | None = None) -> "Answer":
        """Breach: another status, or another error code."""
        if self.status != status:
            raise Breach(f"{self.asked}: expected {status}, got {self.status} {self._start()}")
        if code is not None and self.json().get("code") != code:
            raise Breach(f"{self.asked}: expected the error {code}, got {self._start()}")
        return self

    def json(self) -> dict[str, Any]:
        """Breach: it is no object of JSON."""
        try:
            value = json.loads(self.body)
        except ValueError:
            value = None
        if not isinstance(value, dict):
            raise Breach(f"{self.asked}: the answer is no JSON object: {self._start()}")
        return value

    def fact(self, name: str) -> Any:
        """Of an error. Breach: it does not tell."""
        facts = self.json().get("facts", {})
        if name not in facts:
            raise Breach(f"{self.asked}: the error has no facts.{name}: {self._start()}")
        return facts[name]

    def _start(self) -> str:
        return self.body[:200].decode(errors="replace")


class Peer:
    """A service at the other end of a URL."""

    def __init__(self, url: str, session: aiohttp.ClientSession) -> None:
        self.url = url.rstrip("/")
        self._session = session

    async def ask(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        token: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """`body`: bytes as they are, anything else as JSON."""
        said = dict(headers or {})
        if token is not None:
            said["Authorization"] = f"Bearer {token}"
        data = body if isinstance(body, bytes) else None
        if body is not None and data is None:
            data = json.dumps(body).encode()
            said.setdefault("Content-Type", "application/json")
        asked = f"{method} {path}"
        try:
            async with self._session.request(
                method, f"{self.url}{path}", data=data, headers=said
            ) as got:
                return Answer(asked, got.status, dict(got.headers), await got.read())
        except TimeoutError:
            raise Breach(f"{asked}: no answer within {PATIENCE_S:g} s") from None
        except aiohttp.ClientConnectorError:
            raise Unproved(f"{self.url} cannot be reached") from None
        except aiohttp.ClientError as error:
            raise Breach(f"{asked}: the connection broke: {error}") from None

    async def line(self, token: str | None) -> aiohttp.ClientWebSocketResponse:
        """An open line. Breach: it does not open."""
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        try:
            return await self._session.ws_connect(f"{self.url}/v1/line", headers=headers)
        except aiohttp.WSServerHandshakeError as error:
            raise Breach(f"GET /v1/line: expected a WebSocket, got {error.status}") from None
        except (aiohttp.ClientError, TimeoutError) as error:
            raise Breach(f"GET /v1/line: the connection broke: {error}") from None


class Asking:
    """Peers that share connections, for as long as the block lasts."""

    async def __aenter__(self) -> "Asking":
        self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=PATIENCE_S))
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._session.close()

    def peer(self, url: str) -> Peer:
        return Peer(url, self._session)
