"""An outbox that ends with its worker: for one that lives no longer than what it runs."""

from collections.abc import Sequence
from typing import Any

from shared.ids import AttemptId
from worker.outbox.record import Record


class MemoryOutbox:
    """Implements `Outbox`; nothing is left, nothing is kept."""

    trouble: str | None = None
    beat_at = 0.0

    def left(self) -> Sequence[Record]:
        return ()

    def begin(self, record: Record) -> None: ...

    def note(self, attempt_id: AttemptId, **facts: Any) -> bool:
        return True

    def hold(self, attempt_id: AttemptId, size_bytes: int) -> None: ...

    async def park(self, attempt_id: AttemptId) -> bool:
        return True

    async def settle(self, attempt_id: AttemptId) -> None: ...

    def beat(self, at: float) -> None: ...

    def probe(self) -> None: ...
