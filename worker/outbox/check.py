"""The outbox as the worker's health knows it: while it is full or cannot be written, it is bad."""

from shared.protocol.registry import Finding
from worker.outbox.interface import Outbox


class OutboxCheck:
    """Implements `worker.health.Check`."""

    name = "outbox"

    def __init__(self, outbox: Outbox) -> None:
        self._outbox = outbox

    async def look(self) -> Finding:
        self._outbox.probe()
        trouble = self._outbox.trouble
        return Finding(name=self.name, is_good=trouble is None, says=trouble or "takes results")
