"""The other end of a Transport, as errors name it: what it raised, or why it was not reached."""

import json
from dataclasses import dataclass
from typing import Final

import aiohttp
from multidict import CIMultiDict, CIMultiDictProxy

from shared.errors import BY_CODE, ServiceError, Unavailable, from_wire
from shared.http.line import LineBroken
from shared.http.wire import RETRY_AFTER

NO_HEADERS: Final = CIMultiDictProxy[str](CIMultiDict())


@dataclass(frozen=True, slots=True)
class Peer:
    service: str
    base_url: str

    def closed(self) -> Unavailable:
        """This side hung up."""
        return Unavailable(f"the client of the {self.service} was closed")

    def unavailable(self, error: Exception) -> Unavailable:
        """It did not answer."""
        if isinstance(error, TimeoutError):
            why = "no answer in time"
        elif isinstance(error, aiohttp.ClientConnectorError):
            why = error.os_error.strerror or str(error.os_error)
        elif isinstance(error, aiohttp.ServerDisconnectedError | LineBroken):
            why = "it closed the connection"
        else:
            why = str(error) or type(error).__name__
        return Unavailable(
            f"the {self.service} at {self.base_url} cannot be reached: {why}",
            service=self.service,
        )

    def error(
        self, status: int, content: bytes, headers: CIMultiDictProxy[str] = NO_HEADERS
    ) -> ServiceError:
        """What it raised; Unavailable for a failing thing that is not drawbar."""
        try:
            body = json.loads(content)
            code, message, facts = str(body["code"]), str(body["message"]), dict(body["facts"])
            retryable = bool(body["retryable"])
        except (ValueError, TypeError, KeyError, RecursionError):
            code, facts = "", {"status": status}
            message = f"{self.base_url} answered {status}, and not as a {self.service} does"
            retryable = status >= 500 or status in (408, 429)
        retry_after = headers.get(RETRY_AFTER, "")
        if retry_after.isdecimal():
            facts["retry_after_s"] = float(retry_after)
        if retryable and code not in BY_CODE:
            return Unavailable(message, **facts | {"service": self.service})
        return from_wire(code, message, facts)

    def not_understood(self, verb: str) -> ServiceError:
        """It answered, and not what was asked."""
        return ServiceError(
            f"the {self.service} at {self.base_url} answered {verb} with something else",
            service=self.service,
        )
