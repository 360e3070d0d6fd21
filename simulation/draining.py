"""Whether everything comes to its end once faults have healed; and if not, what is stuck."""

import asyncio
import contextlib
from typing import Final

from shared.errors import ServiceError
from shared.protocol.jobs import RunFilter, RunView
from shared.services import JobService
from simulation.loop import SimulatedLoop
from simulation.people import People

LOOK_EVERY_S: Final = 2.0


class Drain:
    """Looks at all runs until they have ended. `stuck` is what had not, at the last look."""

    def __init__(self, loop: SimulatedLoop, client: JobService, people: People) -> None:
        self._loop = loop
        self._client = client
        self._people = people
        self._seen: dict[int, RunView] = {}
        self._moved_at = loop.now

    @property
    def silent_s(self) -> float:
        """For so long no job has gone on: none was claimed, started, or has ended."""
        return self._loop.now - self._moved_at

    @property
    def stuck(self) -> list[str]:
        jobs = [
            f"{run.run_id}/{job.id} is {job.status} (claimed {job.attempts} times)"
            for run in self._seen.values()
            for job in run.jobs
            if not job.status.is_ended
        ]
        return jobs or ["a run was never submitted, or nobody can look"]

    async def run(self) -> None:
        """Every run was submitted, and has ended."""
        while True:
            with contextlib.suppress(ServiceError):
                if await self._is_over():
                    return
            await asyncio.sleep(LOOK_EVERY_S)

    async def _is_over(self) -> bool:
        runs = (await self._client.list_runs(RunFilter(limit=1_000))).runs
        for summary in runs:
            before = self._seen.get(summary.run_id)
            if before is not None and before.status.is_ended:
                continue
            view = await self._client.show_run(summary.run_id)
            if before is None or before.jobs != view.jobs:
                self._moved_at = self._loop.now
            self._seen[summary.run_id] = view
        return self._people.have_submitted and all(run.status.is_ended for run in runs)
