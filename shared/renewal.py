"""Tokens that are minted again at half of their life, so that no long work loses its token."""

from collections.abc import Callable

from shared.ids import AttemptId, WorkerId
from shared.runtime import Runtime
from shared.tokens import CACHED_TOKENS, EXECUTION_S, MAX_CLOCK_SKEW_S, Minter


class Renewing:
    """A token that is minted again at half of its life, or when this machine's clock was set:
    the times in it are wrong then, and nobody takes it. Hand it to a Transport."""

    def __init__(self, mint: Callable[[], str], lifetime_s: float, runtime: Runtime) -> None:
        self._mint = mint
        self._half_life_s = lifetime_s / 2
        self._runtime = runtime
        self._token: str | None = None
        self._renew_at = 0.0
        self._offset_s = 0.0  # of the wall clock from the monotonic one, when it was minted

    def __call__(self) -> str:
        now = self._runtime.mono()
        offset_s = self._runtime.now().timestamp() - now
        was_set = abs(offset_s - self._offset_s) > MAX_CLOCK_SKEW_S / 2
        if self._token is None or now >= self._renew_at or was_set:
            self._token = self._mint()
            self._renew_at = now + self._half_life_s
            self._offset_s = offset_s
        return self._token


class AttemptTokens:
    """Mints the tokens of attempts, and knows which of them are old.

    What it knows is only a hint: an attempt that it has not heard of, or has forgotten, gets a
    fresh token. So a gateway may restart, or be one of several, and no long job loses its token.
    """

    def __init__(self, minter: Minter, runtime: Runtime) -> None:
        self._minter = minter
        self._runtime = runtime
        self._minted_at: dict[AttemptId, float] = {}

    def workload(self, worker_id: WorkerId, attempt_id: AttemptId, fence: int) -> str:
        return self._minter.workload(worker_id, attempt_id, fence)

    def execution(self, worker_id: WorkerId, attempt_id: AttemptId, fence: int) -> str:
        if attempt_id not in self._minted_at and len(self._minted_at) >= CACHED_TOKENS:
            del self._minted_at[next(iter(self._minted_at))]
        self._minted_at[attempt_id] = self._runtime.mono()
        return self._minter.execution(worker_id, attempt_id, fence)

    def refresh(self, worker_id: WorkerId, attempt_id: AttemptId, fence: int) -> str | None:
        """A fresh execution token when the last one is past half of its life, else None."""
        minted_at = self._minted_at.get(attempt_id)
        if minted_at is not None and self._runtime.mono() < minted_at + EXECUTION_S / 2:
            return None
        return self.execution(worker_id, attempt_id, fence)
