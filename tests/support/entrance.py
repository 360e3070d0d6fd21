"""A gateway over a fake job service, as whoever comes over HTTP finds it."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from hashlib import sha256

from shared.http.identity import workers_own
from shared.http.server import new_app
from shared.http.worker_line import add_worker_line
from shared.http.worker_routes import add_worker_routes
from shared.ids import RunId, WorkerId
from shared.protocol import gateway as g
from shared.protocol import jobs as j
from shared.protocol.pipeline import JobSpec, PipelineSpec
from shared.protocol.states import JobStatus
from shared.renewal import AttemptTokens
from shared.tokens import Minter, Verifier
from tests.support.carriers import KEY
from tests.support.fake_jobs import FakeJobs
from tests.support.http import Caller, Reply, serving
from tests.support.runtime import ManualRuntime

ANN, BEN = WorkerId("ann"), WorkerId("ben")
CLAIM = b'{"claim_id":"c1","labels":{},"free_slots":1,"wait_s":0}'


@dataclass
class Entrance:
    """A gateway over a fake job service, and the means to make any token."""

    call: Caller
    jobs: FakeJobs
    minter: Minter
    verifier: Verifier
    runtime: ManualRuntime

    async def submit(self, *ids: str) -> RunId:
        jobs = tuple(JobSpec(id=name, command="true") for name in ids or ("one",))
        pipeline = PipelineSpec(name="demo", jobs=jobs)
        ask = j.SubmitRequest(idempotency_key=self.runtime.new_id(), pipeline=pipeline)
        return (await self.jobs.submit(ask)).run_id

    async def claim(self) -> g.Claim:
        await self.submit()
        token = self.minter.worker(ANN)
        body = json.dumps(
            {"claim_id": self.runtime.new_id(), "labels": {}, "free_slots": 1, "wait_s": 0}
        )
        answer = await self.call("POST", "/v1/claims", token=token, data=body.encode())
        return g.ClaimReply.model_validate_json(answer.body).claims[0]

    async def run(self) -> tuple[g.Claim, str]:
        """A running attempt of ann's, and its execution token."""
        claim = await self.claim()
        answer = await self.start(claim, claim.token)
        return claim, answer.json["token"]

    async def start(self, claim: g.Claim, token: str | None) -> Reply:
        body = json.dumps({"fence": claim.fence, "host": "h", "pid": 1}).encode()
        return await self.call(
            "POST", f"/v1/attempts/{claim.attempt_id}/run", token=token, data=body
        )

    async def finish(self, claim: g.Claim, token: str | None, **changes: object) -> Reply:
        body = {
            "fence": claim.fence,
            "result": {"outcome": "exited", "exit_code": 0},
            "log": {
                "size_bytes": 0,
                "sha256": sha256(b"").hexdigest(),
                "tail_offset": 0,
                "tail": "",
                "lost_bytes": 0,
            },
            "artifacts": [],
            "usage": {"wall_s": 1.0, "cpu_s": None, "max_rss_bytes": None},
        } | changes
        path = f"/v1/attempts/{claim.attempt_id}/finish"
        return await self.call("POST", path, token=token, data=json.dumps(body).encode())

    async def status(self, claim: g.Claim) -> JobStatus:
        return (await self.jobs.show_run(claim.run_id)).jobs[0].status


@asynccontextmanager
async def new_entrance() -> AsyncIterator[Entrance]:
    runtime = ManualRuntime()
    verifier = Verifier(KEY.public_key(), runtime)
    minter = Minter(KEY, runtime, verifier)
    jobs = FakeJobs(runtime)

    async def ready() -> None: ...

    app = new_app(ready)
    tokens = AttemptTokens(minter, runtime)
    add_worker_routes(app, jobs, workers_own(verifier), tokens)
    add_worker_line(app, jobs, workers_own(verifier), tokens)
    async with serving(app) as call:
        yield Entrance(call, jobs, minter, verifier, runtime)


def check(answer: Reply) -> tuple[int, str]:
    return answer.status, answer.json["facts"].get("check")
