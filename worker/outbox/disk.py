"""The outbox on this machine's disk: a journal of what runs, and a file for each parked result.

    journal          what every attempt has come to; survives the worker (kill -9)
    parked/<id>.json  a result that waits for longer than a moment; survives a loss of power

A job's usual way, whose receipt comes at once, costs four notes of a few microseconds and no sync.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import structlog
from pydantic import ValidationError
from pydantic_core import from_json, to_json

from shared.ids import AttemptId
from shared.runtime import Runtime
from worker.outbox.interface import CannotKeep
from worker.outbox.journal import Facts, Found, Journal, Step
from worker.outbox.parked import Parked
from worker.outbox.record import UNKNOWN, Record

MOST_BYTES: Final = 10 * 1_024**3  # of logs and artifacts that wait for a receipt

log = structlog.get_logger()


class DiskOutbox:
    """Implements `Outbox` below `folder`, which is this worker's alone. OSError: it cannot be."""

    def __init__(
        self,
        folder: Path,
        runtime: Runtime,
        *,
        most: int,
        most_bytes: int = MOST_BYTES,
        disk: Step = lambda _: None,
    ) -> None:
        """`disk` is told of each step that the disk may fail at, and may raise in its stead."""
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._runtime = runtime
        self._most = most
        self._most_bytes = most_bytes
        self._sizes: dict[AttemptId, int] = {}
        self._flaw: str | None = None
        self._parked = Parked(folder / "parked", disk)
        self._is_parked: set[AttemptId] = set()
        self._journal = Journal(folder / "journal", disk=disk)
        found = Found(folder / "journal")
        self.beat_at = found.beat_at if found.is_of_this_boot else 0.0
        left = self._merge(found)
        self._left = sorted((record for _, record in left), key=lambda record: record.since)
        self._journal.open({r.attempt_id: facts for facts, r in left}, self.beat_at)

    def close(self) -> None:
        """Safe to repeat."""
        self._journal.close()

    @property
    def trouble(self) -> str | None:
        if self._flaw is not None:
            return f"the outbox cannot be written: {self._flaw}"
        waiting, size = len(self._sizes), sum(self._sizes.values())
        if waiting > self._most or size > self._most_bytes:
            return f"the outbox is full: {waiting} results, {size} bytes, wait for their receipt"
        return None

    def left(self) -> Sequence[Record]:
        return self._left

    def begin(self, record: Record) -> None:
        facts = record.model_dump(exclude_unset=True)
        try:
            self._journal.note(record.attempt_id, facts)
        except OSError as error:
            self._journal.forget(record.attempt_id)
            self._ail(error)
            raise CannotKeep(f"the outbox cannot be written: {error.strerror}") from error

    def note(self, attempt_id: AttemptId, **facts: Any) -> bool:
        if self._journal.known(attempt_id) is None:
            return True  # stopped before it began, or after it was settled: no successor cares
        try:
            self._journal.note(attempt_id, facts)
        except OSError as error:
            self._ail(error)
            return False
        return True

    def hold(self, attempt_id: AttemptId, size_bytes: int) -> None:
        before = self.trouble
        self._sizes[attempt_id] = size_bytes
        if before is None and self.trouble is not None:
            log.error("outbox.full", results=len(self._sizes), trouble=self.trouble)

    async def park(self, attempt_id: AttemptId) -> bool:
        facts = self._journal.known(attempt_id)
        if facts is None:
            return True
        self._is_parked.add(attempt_id)
        try:
            await self._runtime.offload(self._parked.keep, attempt_id, to_json(facts))
        except OSError as error:
            self._ail(error)
            return False
        if self._journal.known(attempt_id) is None:  # its receipt came meanwhile
            await self._drop(attempt_id)
        return True

    async def settle(self, attempt_id: AttemptId) -> None:
        self._sizes.pop(attempt_id, None)
        try:
            self._journal.settle(attempt_id)
        except OSError as error:
            self._ail(error)
        await self._drop(attempt_id)

    def beat(self, at: float) -> None:
        try:
            self._journal.beat(at)
        except OSError as error:
            self._ail(error)

    def probe(self) -> None:
        if self._flaw is None:
            return
        try:
            self._journal.probe()
        except OSError as error:
            self._ail(error)
        else:
            self._flaw = None
            log.warning("outbox.mended")

    # -- details -------------------------------------------------------------------------------

    async def _drop(self, attempt_id: AttemptId) -> None:
        if attempt_id in self._is_parked:
            self._is_parked.discard(attempt_id)
            try:
                await self._runtime.offload(self._parked.drop, attempt_id)
            except OSError as error:
                self._ail(error)

    def _ail(self, error: OSError) -> None:
        flaw = error.strerror or str(error)
        if flaw != self._flaw:
            log.error("outbox.failed", error=flaw)
        self._flaw = flaw

    def _merge(self, found: Found) -> list[tuple[Facts, Record]]:
        """The journal's word counts, unless the machine was off since then: what it says of ends
        was never synced, nor were the logs that they tell of, and its last words may be missing.
        Parked results always count."""
        facts: dict[str, Facts] = dict(found.live)
        if not found.is_of_this_boot:
            for known in facts.values():
                known.pop("result", None)
                known["phase"] = UNKNOWN
        for key, body in self._parked.load().items():
            try:
                parked: Facts = dict(from_json(body))
            except (ValueError, TypeError) as error:
                log.error("outbox.unreadable", attempt=key, error=str(error)[:500])
                continue
            self._is_parked.add(AttemptId(key))
            facts[key] = {**parked, **facts.get(key, {})}
        return [(known, record) for known in facts.values() if (record := _record_of(known))]


def _record_of(facts: Mapping[str, Any]) -> Record | None:
    try:
        return Record.model_validate_json(to_json(facts))
    except ValidationError as error:
        log.error(
            "outbox.unreadable", attempt=str(facts.get("claim"))[:200], error=str(error)[:500]
        )
        return None
