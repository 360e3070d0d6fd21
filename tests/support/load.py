"""People who submit runs: as many as the service takes, or at a pace that does not care."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from statistics import quantiles
from time import monotonic
from typing import Final

import aiohttp

JOBS: Final = 20  # of each run
LIMIT_S: Final = 30.0


@dataclass
class Tally:
    """What became of the submits of one phase."""

    seconds: float = 0.0
    accepted_s: list[float] = field(default_factory=list)  # how long each took
    rejected_s: list[float] = field(default_factory=list)
    other: list[str] = field(default_factory=list)  # neither: errors, and no answer in time

    @property
    def goodput(self) -> float:
        """Runs that were taken, a second."""
        return len(self.accepted_s) / self.seconds

    def __str__(self) -> str:
        return (
            f"{self.goodput:.0f} runs/s taken ({percentiles(self.accepted_s)}),"
            f" {len(self.rejected_s) / self.seconds:.0f}/s turned away"
            f" ({percentiles(self.rejected_s)}), {len(self.other)} other"
        )


class People:
    """Submitters of one job service, who do not ask again when they are turned away."""

    def __init__(self, session: aiohttp.ClientSession, url: str, token: str) -> None:
        self._session = session
        self._url = f"{url}/v1/runs"
        self._token = token
        self._numbers = count()
        jobs = [{"id": f"j{n}", "command": "true"} for n in range(JOBS)]
        self._body = json.dumps({"pipeline": {"name": "load", "jobs": jobs}}).encode()

    async def as_many_as_go(self, seconds: float, submitters: int = 16) -> Tally:
        """Each submits again as soon as it was answered."""
        tally, began = Tally(), monotonic()

        async def submit_on() -> None:
            while monotonic() - began < seconds:
                await self.submit(tally)

        async with asyncio.TaskGroup() as group:
            for _ in range(submitters):
                group.create_task(submit_on())
        tally.seconds = monotonic() - began
        return tally

    async def at_a_pace(self, seconds: float, a_second: float) -> Tally:
        """So many a second, whatever becomes of them."""
        tally, began, sent = Tally(), monotonic(), 0
        async with asyncio.TaskGroup() as group:
            while (passed := monotonic() - began) < seconds:
                for _ in range(int(passed * a_second) - sent):
                    sent += 1
                    group.create_task(self.submit(tally))
                await asyncio.sleep(0.002)
            tally.seconds = monotonic() - began
        return tally

    async def submit(self, tally: Tally) -> None:
        headers = {
            "Authorization": f"Bearer {self._token}",
            "Idempotency-Key": f"load-{next(self._numbers)}",
        }
        began = monotonic()
        try:
            async with self._session.post(self._url, data=self._body, headers=headers) as answer:
                await answer.read()
        except (aiohttp.ClientError, TimeoutError) as error:
            tally.other.append(repr(error))
            return
        took_s = monotonic() - began
        if answer.status == 201:
            tally.accepted_s.append(took_s)
        elif answer.status == 503 and "Retry-After" in answer.headers:
            tally.rejected_s.append(took_s)
        else:
            tally.other.append(str(answer.status))


@asynccontextmanager
async def people_at(url: str, token: str) -> AsyncIterator[People]:
    async with aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0), timeout=aiohttp.ClientTimeout(total=LIMIT_S)
    ) as session:
        yield People(session, url, token)


def percentiles(times_s: list[float]) -> str:
    if len(times_s) < 2:
        return "-"
    cuts = quantiles(times_s, n=100)
    return f"p50 {cuts[49] * 1_000:.0f} ms, p99 {cuts[98] * 1_000:.0f} ms"


def resident_mib(pid: int) -> float:
    """proc(5), statm: the second number is pages of 4 KiB."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) / 256
