"""What overload costs, in numbers. Each is printed beside its limit; a quiet machine is assumed.

Capacity is what sixteen submitters reach who ask again as soon as they are answered. The load is
made on the same machine, and takes about a tenth of one of its cores; how late it was itself is
printed. For busy machines, goodput is told for the service's processor time as well.
"""

import asyncio
import hashlib
from collections.abc import Awaitable
from contextlib import suppress
from itertools import count
from pathlib import Path
from statistics import quantiles
from time import monotonic
from typing import Final

import pytest

from shared.errors import ServiceError
from shared.http.clients import JobsClient
from shared.ids import ClaimId, WorkerId
from shared.protocol import gateway as g
from shared.tokens import Role
from tests.support.cluster import Cluster
from tests.support.load import Tally, cpu_s, people_at, percentiles, resident_mib

WARM_S: Final = 5.0
PEAK_S: Final = 15.0
OVER_S: Final = 60.0
OVER: Final = 3.0
NORMAL_WITHIN_S: Final = 5.0
LEAST_GOODPUT: Final = 0.9
MOST_REJECTION_S: Final = 0.1
FLAT: Final = 1.1

pytestmark = [pytest.mark.prove, pytest.mark.system, pytest.mark.timeout(600)]


class Crowd:
    """Workers' calls, some each second: claims, runs and finishes through a gateway's client."""

    def __init__(self, cluster: Cluster) -> None:
        token = cluster.minter.service("gateway")
        url = cluster.env["DRAWBAR_JOBSTORE_URL"]
        self._jobs = JobsClient(cluster.transport(url, "jobstore", lambda: token))
        self._numbers = count()
        self.vital_s: list[float] = []
        self.turned_away: list[str] = []  # vital calls, of which none may be
        self.finished = 0

    async def work(self, a_second: float) -> None:
        """For ever."""
        async with asyncio.TaskGroup() as group:
            while True:
                group.create_task(self._one())
                await asyncio.sleep(1 / a_second)

    async def _one(self) -> None:
        worker = WorkerId(f"w{next(self._numbers)}")
        ask = g.ClaimRequest(
            claim_id=ClaimId(worker), worker_id=worker, labels={}, free_slots=1, wait_s=0
        )
        try:
            claims = (await self._jobs.claim(ask)).claims
        except ServiceError:
            return  # claims may be turned away
        for claim in claims:
            held = {"attempt_id": claim.attempt_id, "worker_id": worker, "fence": claim.fence}
            await self._vital(self._jobs.run(g.RunRequest(**held, host="h", pid=1)))
            beat = g.LeaseBeat(attempt_id=claim.attempt_id, fence=claim.fence, phase="executing")
            await self._vital(
                self._jobs.heartbeat(g.HeartbeatRequest(worker_id=worker, leases=(beat,)))
            )
            await self._vital(self._jobs.finish(_result(held)))
            self.finished += 1

    async def _vital(self, call: Awaitable[object]) -> None:
        began = monotonic()
        try:
            await call
        except ServiceError as error:
            self.turned_away.append(error.code)
        self.vital_s.append(monotonic() - began)


def _result(held: dict[str, object]) -> g.FinishRequest:
    return g.FinishRequest.model_validate(
        {
            **held,
            "result": g.Result(outcome=g.Outcome.EXITED, exit_code=0),
            "log": g.LogSummary(
                size_bytes=0,
                sha256=hashlib.sha256().hexdigest(),
                tail_offset=0,
                tail=b"",
                lost_bytes=0,
            ),
            "artifacts": (),
            "usage": g.Usage(wall_s=0, cpu_s=None, max_rss_bytes=None),
        }
    )


async def test_at_three_times_its_capacity_a_service_does_what_it_can_and_says_no_at_once(
    tmp_path: Path,
) -> None:
    cluster = Cluster(tmp_path)
    try:
        await cluster.jobstore.start()
        token = cluster.minter.client("load", Role.ADMIN)
        crowd = Crowd(cluster)
        working = asyncio.create_task(crowd.work(a_second=5))
        async with people_at(cluster.jobstore.url or "", token) as people:
            pid = cluster.jobstore.pid
            await people.as_many_as_go(WARM_S)
            before, cpu_before_s = await _timed(pid, people.as_many_as_go(PEAK_S))

            memory = [resident_mib(pid)]
            watching = asyncio.create_task(_watch(pid, memory))
            offered = OVER * before.goodput
            over, cpu_over_s = await _timed(pid, people.at_a_pace(OVER_S, offered))
            ended = monotonic()
            normal_after_s = None
            while normal_after_s is None and monotonic() - ended < 4 * NORMAL_WITHIN_S:
                calm = Tally(seconds=1.0)
                for _ in range(20):
                    await people.submit(calm, monotonic())
                if len(calm.accepted_s) == 20 and max(calm.accepted_s) < MOST_REJECTION_S:
                    normal_after_s = monotonic() - ended
            watching.cancel()
            after, cpu_after_s = await _timed(pid, people.as_many_as_go(PEAK_S))
            memory_after = resident_mib(pid)
        working.cancel()
        with suppress(asyncio.CancelledError):
            await working
    finally:
        await cluster.end()
        cluster.print_logs()

    peak = (before.goodput + after.goodput) / 2  # the machine may not be ours alone
    for_cpu = len(over.accepted_s) / cpu_over_s
    peak_for_cpu = (len(before.accepted_s) + len(after.accepted_s)) / (cpu_before_s + cpu_after_s)
    third = len(memory) // 3
    grown = max(memory[-third:]) / max(memory[:third])
    for line in (
        f"before  {before}",
        f"over    {over}, offered {offered:.0f}/s, {percentiles(over.late_s)} late",
        f"after   {after}",
        f"goodput {over.goodput / peak:.0%} of the peak (least {LEAST_GOODPUT:.0%})",
        f"  for a second of its processor time: {for_cpu:.0f} runs, {for_cpu / peak_for_cpu:.0%}",
        f"vital   {len(crowd.vital_s)} calls ({percentiles(crowd.vital_s)}),"
        f" {len(crowd.turned_away)} turned away",
        f"memory  {memory[0]:.0f} MiB before, {max(memory):.0f} at most, {memory_after:.0f} after;"
        f" last third over first {grown:.2f} (at most {FLAT})",
        f"normal  after {normal_after_s} s (within {NORMAL_WITHIN_S} s)",
    ):
        print(line)  # noqa: T201  # the numbers are what was asked for
    assert over.goodput >= LEAST_GOODPUT * peak
    assert quantiles(over.rejected_s, n=100)[98] <= MOST_REJECTION_S
    assert over.other == []
    assert crowd.turned_away == []
    assert grown <= FLAT
    assert normal_after_s is not None
    assert normal_after_s <= NORMAL_WITHIN_S


async def _timed(pid: int, phase: Awaitable[Tally]) -> tuple[Tally, float]:
    """What came of it, and the service's processor time."""
    began_s = cpu_s(pid)
    tally = await phase
    return tally, cpu_s(pid) - began_s


async def _watch(pid: int, memory: list[float]) -> None:
    while True:
        memory.append(resident_mib(pid))
        await asyncio.sleep(1.0)
