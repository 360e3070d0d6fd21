"""A gateway in memory for tests of the worker. It keeps the contract, and can be away."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from hashlib import sha256

from shared.errors import (
    BadRequest,
    Conflict,
    LogOffsetMismatch,
    ResultConflict,
    StaleFence,
    Unauthenticated,
    Unavailable,
    UnknownAttempt,
)
from shared.ids import AttemptId, JobId, RunId
from shared.protocol import gateway as g
from shared.protocol.pipeline import CheckSpec, InheritEnv, SecuritySpec
from shared.protocol.states import AttemptStatus, JobStatus
from shared.services import PIECE_BYTES, Body


@dataclass
class Job:
    """What a test wants the worker to run, and what became of it."""

    argv: tuple[str, ...] = ("sh", "-c", "true")
    task: g.TaskContext | None = None
    env: dict[str, str] = field(default_factory=dict)
    working_dir: str | None = None
    timeout_s: float = 60.0
    artifacts: tuple[str, ...] = ()
    inputs: dict[str, dict[str, bytes]] = field(default_factory=dict)  # job → path → bytes
    pre_checks: tuple[CheckSpec, ...] = ()
    post_checks: tuple[CheckSpec, ...] = ()
    inherit_env: InheritEnv | None = None
    plugins: tuple[str, ...] = ()
    security: SecuritySpec | None = None
    start_ttl_s: float = 15.0
    lease_s: float = 30.0
    heartbeat_s: float = 2.0


@dataclass
class Held:
    """One attempt as the job service would know it."""

    job: Job
    attempt_id: AttemptId
    fence: int
    state: AttemptStatus = AttemptStatus.CLAIMED
    log: bytes = b""
    artifacts: dict[str, bytes] = field(default_factory=dict)
    refusal: str | None = None
    finish: g.FinishRequest | None = None
    evidence: list[g.FinishRequest] = field(default_factory=list)
    is_cancelled: bool = False
    beats: int = 0
    phases: list[str] = field(default_factory=list)  # as the heartbeats told them
    settled: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def result(self) -> g.Result:
        assert self.finish is not None
        return self.finish.result

    def lose(self) -> None:
        """Another worker has the job now."""
        self.state = AttemptStatus.LOST


def a_claim(attempt: Held) -> g.Claim:
    return g.Claim(
        attempt_id=attempt.attempt_id,
        fence=attempt.fence,
        run_id=RunId(1),
        job_id=JobId(attempt.attempt_id),
        start_ttl_s=attempt.job.start_ttl_s,
    )


class FakeGateway:
    """Implements `Gateway`. `away` names verbs that are Unavailable; `calls` what was asked."""

    def __init__(self) -> None:
        self.away: set[str] = set()
        self.turns_down: set[str] = set()  # verbs whose token is not good any more
        self.forgets: set[str] = set()  # verbs whose effect happens, but whose answer is lost
        self.prefix = "a"  # of attempts: real processes are found by theirs, on the whole machine
        self.calls: list[str] = []
        self.asks: list[g.ClaimRequest] = []
        self.attempts: dict[AttemptId, Held] = {}
        self.no_job = g.ClaimReply(claims=(), reason="no_job", retry_after_s=0)
        self.answers_at_once = False  # a broken gateway, which does not let polls wait
        self.polled = asyncio.Event()  # a poll waits
        self._queue: list[Held] = []
        self._answers: dict[str, g.ClaimReply] = {}
        self._wake = asyncio.Event()

    def add(self, job: Job) -> Held:
        """The job is queued."""
        number = len(self.attempts) + 1
        attempt = Held(job=job, attempt_id=AttemptId(f"{self.prefix}{number}"), fence=number)
        self.attempts[attempt.attempt_id] = attempt
        self._queue.append(attempt)
        self._wake.set()
        return attempt

    def end_polls(self) -> None:
        """The poll that waits is answered: no job."""
        self._wake.set()

    def _enter(self, verb: str) -> None:
        self.calls.append(verb)
        if verb in self.away:
            raise Unavailable(service="gateway")
        if verb in self.turns_down:
            raise Unauthenticated(check="expired")

    def _leave(self, verb: str) -> None:
        if verb in self.forgets:
            raise Unavailable(service="gateway")

    def _own(self, attempt_id: AttemptId, fence: int) -> Held:
        attempt = self.attempts.get(attempt_id)
        if attempt is None:
            raise UnknownAttempt()
        if attempt.fence != fence or attempt.state is AttemptStatus.LOST:
            raise StaleFence(state=attempt.state.value)
        return attempt

    # -- the verbs -------------------------------------------------------------------------------

    async def claim(self, ask: g.ClaimRequest) -> g.ClaimReply:
        self.asks.append(ask)
        self._enter("claim")
        if ask.claim_id in self._answers:
            return self._answers[ask.claim_id]
        if not self._queue and ask.wait_s > 0 and not self.answers_at_once:
            self._wake.clear()
            self.polled.set()
            await self._wake.wait()
            self.polled.clear()
        taken, self._queue = self._queue[: ask.free_slots], self._queue[ask.free_slots :]
        reply = self.no_job
        if taken:
            reply = g.ClaimReply(claims=tuple(a_claim(attempt) for attempt in taken))
            self._answers[ask.claim_id] = reply
        self._leave("claim")
        return reply

    async def refuse(self, ask: g.RefuseRequest) -> None:
        self._enter("refuse")
        attempt = self._own(ask.attempt_id, ask.fence)
        if attempt.state not in (AttemptStatus.CLAIMED, AttemptStatus.REFUSED):
            raise Conflict(state=attempt.state.value)
        attempt.state, attempt.refusal = AttemptStatus.REFUSED, ask.reason
        attempt.settled.set()
        self._leave("refuse")

    async def run(self, ask: g.RunRequest) -> g.RunContext:
        self._enter("run")
        attempt = self._own(ask.attempt_id, ask.fence)
        if attempt.state not in (AttemptStatus.CLAIMED, AttemptStatus.RUNNING):
            raise Conflict(state=attempt.state.value)
        attempt.state = AttemptStatus.RUNNING
        self._leave("run")
        job = attempt.job
        return g.RunContext(
            attempt_id=attempt.attempt_id,
            fence=attempt.fence,
            run_id=RunId(1),
            job_id=JobId(attempt.attempt_id),
            pipeline="test",
            argv=() if job.task else job.argv,
            task=job.task,
            env=job.env,
            working_dir=job.working_dir,
            timeout_s=job.timeout_s,
            artifacts=job.artifacts,
            inputs=tuple(JobId(name) for name in job.inputs),
            pre_checks=job.pre_checks,
            post_checks=job.post_checks,
            inherit_env=job.inherit_env,
            plugins=job.plugins,
            security=job.security,
            dependencies=(),
            tries=1,
            tries_left=0,
            should_retry=False,
            lease_s=job.lease_s,
            heartbeat_s=job.heartbeat_s,
        )

    async def heartbeat(self, ask: g.HeartbeatRequest) -> g.HeartbeatReply:
        self._enter("heartbeat")
        verdicts = []
        for beat in ask.leases:
            attempt = self.attempts[beat.attempt_id]
            verdict, reason = g.Verdict.RENEWED, None
            if attempt.state is not AttemptStatus.RUNNING:
                verdict, reason = g.Verdict.GONE, f"it is {attempt.state}"
            elif attempt.is_cancelled:
                verdict = g.Verdict.CANCEL
            attempt.beats += 1
            attempt.phases.append(beat.phase)
            verdicts.append(
                g.LeaseVerdict(attempt_id=beat.attempt_id, verdict=verdict, reason=reason)
            )
        return g.HeartbeatReply(leases=tuple(verdicts))

    async def append_log(self, chunk: g.LogChunk, body: Body) -> g.LogReply:
        self._enter("append_log")
        attempt = self._own(chunk.attempt_id, chunk.fence)
        data = b"".join([piece async for piece in body])
        assert len(data) == chunk.size_bytes
        if chunk.offset != len(attempt.log):
            raise LogOffsetMismatch(resume_at=len(attempt.log))
        attempt.log += data
        self._leave("append_log")
        return g.LogReply(
            next_offset=len(attempt.log),
            attempt_status=attempt.state,
            cancel_requested=attempt.is_cancelled,
        )

    async def put_artifact(self, upload: g.ArtifactUpload, body: Body) -> g.ArtifactReply:
        self._enter("put_artifact")
        attempt = self._own(upload.attempt_id, upload.fence)
        data = b"".join([piece async for piece in body])
        if sha256(data).hexdigest() != upload.entry.sha256:
            raise BadRequest("the bytes have another hash")
        attempt.artifacts[upload.entry.path] = data
        return g.ArtifactReply(next_offset=len(data))

    async def list_inputs(self, ask: g.InputListRequest) -> g.InputList:
        self._enter("list_inputs")
        files = self._own(ask.attempt_id, ask.fence).job.inputs[ask.job_id]
        return g.InputList(
            artifacts=tuple(
                g.ArtifactEntry(path=path, size_bytes=len(data), sha256=sha256(data).hexdigest())
                for path, data in sorted(files.items())
            )
        )

    async def read_input(self, ask: g.InputRequest) -> AsyncIterator[bytes]:
        self._enter("read_input")
        data = self._own(ask.attempt_id, ask.fence).job.inputs[ask.job_id][ask.path]
        for start in range(ask.offset, len(data), PIECE_BYTES):
            yield data[start : start + PIECE_BYTES]
            self._leave("read_input")

    async def finish(self, ask: g.FinishRequest) -> g.FinishReply:
        self._enter("finish")
        attempt = self.attempts[ask.attempt_id]
        try:
            self._own(ask.attempt_id, ask.fence)
        except StaleFence:
            attempt.evidence.append(ask)
            attempt.settled.set()
            raise
        if attempt.finish is None:
            lack = self._lack(attempt, ask)
            if lack is not None:
                return lack
            attempt.log = attempt.log[: ask.log.tail_offset] + ask.log.tail
            attempt.finish, attempt.state = ask, AttemptStatus.REPORTED
        elif attempt.finish.result != ask.result:
            raise ResultConflict()
        self._leave("finish")
        attempt.settled.set()
        return g.Receipt(
            receipt_id=f"r-{ask.attempt_id}",
            attempt_id=ask.attempt_id,
            fence=ask.fence,
            job_status=JobStatus.SUCCESS,
        )

    def _lack(self, attempt: Held, ask: g.FinishRequest) -> g.Incomplete | None:
        missing = tuple(e.path for e in ask.artifacts if e.path not in attempt.artifacts)
        resend: int | None = None
        if len(attempt.log) < ask.log.tail_offset:
            resend = len(attempt.log)
        else:
            whole = attempt.log[: ask.log.tail_offset] + ask.log.tail
            if sha256(whole).hexdigest() != ask.log.sha256:
                attempt.log, resend = b"", 0
        if missing or resend is not None:
            return g.Incomplete(resend_log_from=resend, missing_artifacts=missing)
        return None
