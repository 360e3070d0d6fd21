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
        self.is_now = False
        self.slots: int | None = None
        self.labels: dict[str, str] | None = None
        self.next_report_s = next_report_s
        self.incarnation = 0
        self.is_known = False
        self.reports: list[r.StatusReport] = []
        self.has_left = False
        self.gate = asyncio.Event()  # reports are answered while it is set
        self.gate.set()
        self.asked = 0

    async def enrol(self, ask: r.EnrolRequest) -> r.EnrolReply:
        self._enter()
        self.incarnation += 1
        self.is_known = True
        return r.EnrolReply(
            worker_id=WorkerId(f"w-{ask.name}"),
            incarnation=self.incarnation,
            next_report_s=self.next_report_s,
        )

    async def check_name(self, name: str) -> r.NameCheck:
        self._enter()
        return r.NameCheck(status=None)

    async def report(self, ask: r.StatusReport) -> r.StatusReply:
        self._enter()
        await self.gate.wait()
        if not self.is_known:
            raise UnknownWorker()
        if ask.incarnation != self.incarnation:
            raise WorkerSuperseded()
        self.reports.append(ask)
        return r.StatusReply(
            desired=self.desired,
            reason=None,
            deadline_s=self.deadline_s,
            is_now=self.is_now,
            slots=self.slots,
            labels=self.labels,
            next_report_s=self.next_report_s,
        )

    async def leave(self, worker_id: WorkerId, incarnation: int) -> None:
        self._enter()
        self.has_left = True

    async def list_workers(self) -> r.WorkerList:
        return r.WorkerList(workers=())

    async def wish(self, name: str, ask: r.WishRequest) -> r.WorkerView:
        raise NotFound(name=name)

    async def show_worker(self, name: str) -> r.WorkerDetails:
        raise NotFound(name=name)

    async def set_worker(self, name: str, ask: r.SettingsRequest) -> r.WorkerView:
        raise NotFound(name=name)

    async def remove(self, name: str) -> None:
        raise NotFound(name=name)

    def _enter(self) -> None:
        self.asked += 1
        if self.is_away:
            raise Unavailable(service="registry")
