"""The Executioner's files, handed in to a real cluster, and what becomes of their jobs."""

import json
from typing import Any

from shared.ids import RunId
from shared.protocol.states import JobStatus
from tests.support.cluster import Cluster, Gate
from tests.support.daemons import until
from tests.support.history import assert_sound


class Executioner:
    """Old files, on a worker with room for two jobs."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.submitted: list[RunId] = []

    async def submit(self, *jobs: dict[str, Any], flags: tuple[str, ...] = (), **top: Any) -> RunId:
        """The run of a file with those jobs. Retries wait as little as they can."""
        document = {
            "application_name": "app",
            "default_retry_delay": 0.1,
            "default_retry_jitter": 0,
            **top,
            "jobs": jobs,
        }
        path = self.cluster.work / "jobs_config.json"
        path.write_text(json.dumps(document))
        done = await self.cluster.run("submit", str(path), "--json", *flags)
        assert done.code == 0, done.err
        self.submitted.append(RunId(json.loads(done.out)["run_id"]))
        return self.submitted[-1]

    async def ended(self, run_id: RunId) -> dict[str, JobStatus]:
        """How each job ended, once the run has."""
        view = await self.cluster.until_ended(run_id)
        await assert_sound(self.cluster, [run_id])
        return {job.id: job.status for job in view.jobs}

    async def ran(self, *jobs: dict[str, Any], **top: Any) -> tuple[RunId, dict[str, JobStatus]]:
        run_id = await self.submit(*jobs, **top)
        return run_id, await self.ended(run_id)

    async def moves(self, run_id: RunId, job_id: str) -> list[str]:
        """What became of the job, one word for each step."""
        events = await self.cluster.events(run_id)
        return [event.kind.partition(".")[2] for event in events if event.job_id == job_id]

    async def until_phase(self, run_id: RunId, job_id: str, phase: str) -> JobStatus:
        """The job is at `phase`; its status then."""
        found: list[JobStatus] = []

        async def is_at() -> bool:
            job = await self.cluster.job(run_id, job_id)
            found[:] = [job.status]
            return job.phase == phase

        await until(is_at, f"{job_id} is at {phase}")
        return found[0]

    async def outcomes(self, run_id: RunId, job_id: str) -> list[str | None]:
        """Why each attempt ended as it did; None: it went well."""
        attempts = await self.cluster.attempts(run_id, job_id)
        return [attempt.reason.what if attempt.reason else None for attempt in attempts]


def a_job(name: str, command: str = "true", *needs: str, **more: Any) -> dict[str, Any]:
    return {"id": name, "command": command, "dependencies": list(needs), **more}


def check(name: str, **params: Any) -> list[dict[str, Any]]:
    return [{"name": name, "params": params}]


def waits_at(gate: Gate) -> list[dict[str, Any]]:
    """A check that passes when the gate is open."""
    return check("check_command", command=gate.wait)
