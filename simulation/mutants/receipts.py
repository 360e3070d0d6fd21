"""Bugs in what a receipt is worth: one result, accepted once, under one name."""

from collections.abc import Iterator
from contextlib import contextmanager
from unittest import mock

import jobstore.store.finish
from gateway.service import GatewayService
from jobstore.artifacts import manifest_of
from jobstore.store.claim import find_attempt
from jobstore.store.finish import Accepted
from jobstore.store.work import Work
from shared.errors import Unavailable
from shared.protocol import gateway as g
from shared.protocol.states import JobStatus


@contextmanager
def finish_counted_twice() -> Iterator[None]:
    """A report that is sent again, as its receipt got lost, ends the job again."""
    receipt_again = jobstore.store.finish._receipt_again

    def accept(work: Work, ask: g.FinishRequest, digest: str) -> Accepted:
        accepted = receipt_again(work, ask, digest)
        held = find_attempt(work, ask.attempt_id)
        kind = f"job.{accepted.job_status.value}"
        if accepted.job_status.is_ended:
            work.record(kind, held.run_id, held.job_id, ask.attempt_id, held.seq)
        return accepted

    with mock.patch.object(jobstore.store.finish, "_receipt_again", accept):
        yield


@contextmanager
def receipt_differs_on_repeat() -> Iterator[None]:
    """A report that is sent again gets a receipt of another name."""
    receipt_again = jobstore.store.finish._receipt_again

    def rename(work: Work, ask: g.FinishRequest, digest: str) -> Accepted:
        return receipt_again(work, ask, digest)._replace(receipt_id=work.tx.new_id())

    with mock.patch.object(jobstore.store.finish, "_receipt_again", rename):
        yield


@contextmanager
def gateway_makes_up_a_receipt() -> Iterator[None]:
    """While the job service is away, the gateway says that a result was accepted."""
    finish = GatewayService.finish

    async def make_up(self: GatewayService, ask: g.FinishRequest) -> g.FinishReply:
        try:
            return await finish(self, ask)
        except Unavailable:
            return g.Receipt(
                receipt_id=self._runtime.new_id(),
                attempt_id=ask.attempt_id,
                fence=ask.fence,
                job_status=JobStatus.SUCCESS,
                artifacts=manifest_of(ask.artifacts),
            )

    with mock.patch.object(GatewayService, "finish", make_up):
        yield


MUTANTS = (finish_counted_twice, receipt_differs_on_repeat, gateway_makes_up_a_receipt)
