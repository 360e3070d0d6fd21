"""A registry in memory for tests of the worker: one worker, and it can be away or silent."""

import asyncio

from shared.errors import NotFound, Unavailable, UnknownWorker, WorkerSuperseded
from shared.ids import WorkerId
from shared.protocol import registry as r
from shared.protocol.states import Desired


class FakeRegistry:
    """The worker's half of `Registry`; the operator's half is `desired`."""

    def __init__(self, *, next_report_s: float = 5.0) -> None:
        self.is_away = False
        self.desired = Desired.RUN
        self.deadline_s: float | None = None
        self.next_report_s = next_report_s
        self.incarnation = 0
        self.is_known = False
        self.reports: list[r.StatusReport] = []
        self.has_left = False
        self.gate = asyncio.Event()  # reports are answered while it is set
        self.gate.set()
        self.asked = 0
        self.changed = asyncio.Condition()

    async def enrol(self, ask: r.EnrolRequest) -> r.EnrolReply:
        await self._enter()
        self.incarnation += 1
        self.is_known = True
        return r.EnrolReply(
            worker_id=WorkerId(f"w-{ask.name}"),
            incarnation=self.incarnation,
            next_report_s=self.next_report_s,
        )

    async def report(self, ask: r.StatusReport) -> r.StatusReply:
        await self._enter()
        await self.gate.wait()
        if not self.is_known:
            raise UnknownWorker()
        if ask.incarnation != self.incarnation:
            raise WorkerSuperseded()
        self.reports.append(ask)
        async with self.changed:
            self.changed.notify_all()
        return r.StatusReply(
            desired=self.desired,
            reason=None,
            deadline_s=self.deadline_s,
            next_report_s=self.next_report_s,
        )

    async def leave(self, worker_id: WorkerId, incarnation: int) -> None:
        await self._enter()
        self.has_left = True

    async def list_workers(self) -> r.WorkerList:
        return r.WorkerList(workers=())

    async def wish(self, name: str, ask: r.WishRequest) -> r.WorkerView:
        raise NotFound(name=name)

    async def remove(self, name: str) -> None:
        raise NotFound(name=name)

    async def until_asked(self, count: int) -> None:
        """`count` calls were made since this registry was."""
        async with self.changed:
            await self.changed.wait_for(lambda: self.asked >= count)

    async def until_reported(self, status: str) -> None:
        """The last acknowledged report had that status."""
        async with self.changed:
            await self.changed.wait_for(
                lambda: bool(self.reports) and self.reports[-1].status == status
            )

    async def _enter(self) -> None:
        self.asked += 1
        async with self.changed:
            self.changed.notify_all()
        if self.is_away:
            raise Unavailable(service="registry")
