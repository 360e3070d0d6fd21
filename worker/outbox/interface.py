"""What a worker keeps of its attempts beyond its own life, as its parts see it."""

from collections.abc import Sequence
from typing import Any, Protocol

from shared.ids import AttemptId
from worker.outbox.record import Record


class CannotKeep(Exception):
    """The outbox takes no new attempt; the message says why. Running ones go on."""


class Outbox(Protocol):
    """Attempts from before their start to their receipt.

    Only `begin` raises: what runs goes on when it cannot be noted, and `trouble` says so. A note
    that was taken brings along those that were not.
    """

    @property
    def trouble(self) -> str | None:
        """Why no job may be claimed at this moment."""

    @property
    def beat_at(self) -> float:
        """When leases were last renewed before this worker began, on the same clock."""

    def left(self) -> Sequence[Record]:
        """What an earlier worker left, oldest first. Each is to be settled."""

    def begin(self, record: Record) -> None:
        """A successor will know of the attempt. CannotKeep."""

    def note(self, attempt_id: AttemptId, **facts: Any) -> bool:
        """These fields of the record have these values now. False: a successor would not know."""

    def hold(self, attempt_id: AttemptId, size_bytes: int) -> None:
        """The attempt has ended; so much of it waits for a receipt."""

    async def park(self, attempt_id: AttemptId) -> bool:
        """Whether what is known of the attempt survives a loss of power from now on."""

    async def settle(self, attempt_id: AttemptId) -> None:
        """It has its receipt, or there will never be one. Safe to repeat."""

    def beat(self, at: float) -> None:
        """All leases that were held at `at` were renewed."""

    def probe(self) -> None:
        """`trouble` is up to date."""
