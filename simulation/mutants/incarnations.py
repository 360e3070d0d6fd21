"""Bugs in the registry: which worker of a name is the one that counts."""

from collections.abc import Iterator
from contextlib import contextmanager
from unittest import mock

from registry.service import RegistryService
from shared.protocol.registry import StatusReply, StatusReport


@contextmanager
def stale_incarnation_obeyed() -> Iterator[None]:
    """The reports of a worker whose name a newer one has taken are acknowledged."""
    report = RegistryService.report

    async def take(self: RegistryService, ask: StatusReport) -> StatusReply:
        known = self._workers.get(ask.worker_id)
        if known is not None and ask.incarnation < known.enrolment.incarnation:
            ask = ask.model_copy(update={"incarnation": known.enrolment.incarnation})
        return await report(self, ask)

    with mock.patch.object(RegistryService, "report", take):
        yield


MUTANTS = (stale_incarnation_obeyed,)
