"""Claims that wait for a job. They live on the database's thread, between its transactions.

A waiting claim is served inside the transaction that made a job ready: the job's end, the next
job's promotion and its claim are one commit, and no wake-up can be lost between them.
"""

import asyncio
from dataclasses import dataclass
from functools import partial
from math import ceil
from typing import Final

from jobstore.store.claim import Granted, Grants, Selector, claim_jobs, granted_before
from jobstore.store.savings import Savings
from jobstore.store.work import Work
from shared.protocol.gateway import ClaimRequest

RESTING: Final = 1_000  # workers of whom it is known what they refused, before it is looked over

Answer = asyncio.Future[list[Granted]]


@dataclass(slots=True)
class Waiting:
    ask: ClaimRequest
    answer: Answer
    selectors: list[int]


class WaitingRoom:
    """At most one waiting claim per worker, served in order of arrival."""

    def __init__(self) -> None:
        self.selectors: dict[int, Selector] = {}
        self._waiting: dict[str, Waiting] = {}
        self._resting: dict[str, dict[int, float]] = {}  # worker → job seq → until, monotonic
        self._savings = Savings()

    def claim(self, work: Work, ask: ClaimRequest, answer: Answer) -> None:
        """Answered after the commit when there is a job, else it waits.

        It supersedes the worker's earlier claim, unless both are the same one sent twice.
        """
        self.leave(work, ask.worker_id)
        before = granted_before(work, ask)
        grants = Grants(before) if before else self._grant(work, ask, ask.free_slots)
        if grants.granted or grants.is_saving or ask.wait_s <= 0:
            _answer(work, answer, grants.granted)
        else:
            self._waiting[ask.worker_id] = Waiting(ask, answer, self._matching(ask))

    def leave(self, work: Work, worker_id: str, claim_id: str | None = None) -> None:
        """The worker's claim (of that id, when one is named) waits no more; nothing for it."""
        waiting = self._waiting.get(worker_id)
        if waiting is not None and claim_id in (None, waiting.ask.claim_id):
            del self._waiting[worker_id]
            _answer(work, waiting.answer, [])

    def rest(self, worker_id: str, job_seq: int, *, now: float, until: float) -> None:
        """The job is not given to this worker before `until`."""
        if len(self._resting) >= RESTING:  # some may never ask again, and so never be forgotten
            for rested in [w for w, jobs in self._resting.items() if max(jobs.values()) <= now]:
                del self._resting[rested]
        self._resting.setdefault(worker_id, {})[job_seq] = until

    def serve(self, work: Work) -> None:
        """Jobs that this transaction made ready are granted to claims that wait for such."""
        ready = work.batch.ready
        for worker_id, waiting in list(self._waiting.items()):
            if not ready:
                return
            mine = [s for s in waiting.selectors if s in ready]
            if waiting.answer.done():  # the caller is gone
                del self._waiting[worker_id]
                continue
            if not mine:
                continue
            share = ceil(sum(ready[s] for s in mine) / max(1, len(self._waiting)))
            granted, is_saving = self._grant(work, waiting.ask, share)
            if not granted and not is_saving:
                continue
            del self._waiting[worker_id]  # who saves asks again, with the slots it has by then
            _answer(work, waiting.answer, granted)
            if len(mine) == 1:  # of several it is not known which: looking once more is harmless
                ready[mine[0]] -= len(granted)
                if ready[mine[0]] <= 0:
                    del ready[mine[0]]

    def serve_all(self, work: Work) -> None:
        """Every claim that waits is looked at again."""
        for selector_id in self.selectors:
            work.batch.ready[selector_id] += len(self._waiting)

    def know_selector(self, selector_id: int, selector: Selector) -> None:
        """Claims that wait may match labels that were never asked for before."""
        self.selectors[selector_id] = selector
        for waiting in self._waiting.values():
            waiting.selectors = self._matching(waiting.ask)

    def _grant(self, work: Work, ask: ClaimRequest, most: int) -> Grants:
        return claim_jobs(
            work,
            ask,
            most=most,
            selectors={s: self.selectors[s] for s in self._matching(ask)},
            resting=self._resting_for(ask.worker_id, work.tx.mono),
            savings=self._savings,
        )

    def _matching(self, ask: ClaimRequest) -> list[int]:
        total = ask.total_slots or ask.free_slots
        return [
            selector_id
            for selector_id, (labels, slots) in self.selectors.items()
            if slots <= total and all(ask.labels.get(name) == v for name, v in labels.items())
        ]

    def _resting_for(self, worker_id: str, now: float) -> set[int]:
        resting = self._resting.get(worker_id)
        if resting is None:
            return set()
        for seq in [seq for seq, until in resting.items() if until <= now]:
            del resting[seq]
        if not resting:
            del self._resting[worker_id]
        return set(resting)


def _answer(work: Work, answer: Answer, granted: list[Granted]) -> None:
    work.tx.after_commit(partial(_set_result, answer, granted))


def _set_result(answer: Answer, granted: list[Granted]) -> None:
    if not answer.done():  # a caller that is gone asks again with the same claim_id, or it lapses
        answer.set_result(granted)
