"""What the clients of people's verbs share: one small message there, one back."""

from typing import TypeVar

from pydantic import BaseModel

from shared.http import wire
from shared.http.transport import CALL_S, Transport

M = TypeVar("M", bound=BaseModel)


class Asking:
    """Half a client: whoever mixes it in has a transport."""

    _transport: Transport
    _retry_for_s: float

    async def _ask(
        self,
        method: str,
        path: str,
        model: type[M],
        body: bytes | None = None,
        *,
        key: str | None = None,
        timeout_s: float = CALL_S,
    ) -> M:
        """The answer, as a `model`; the call is sent again for `retry_for_s`."""
        answer = await self._transport.request(
            method,
            path,
            body,
            headers=None if key is None else {wire.KEY: wire.checked_key(key)},
            timeout_s=timeout_s,
            retry_for_s=self._retry_for_s,
        )
        return model.model_validate_json(answer.body)
