"""A worker's carriers with a witness: what it asked and was told goes into the history.

They wrap the HTTP clients, so the history holds what arrived, not what a service meant to send.
"""

import json
from collections.abc import Awaitable, Callable
from hashlib import sha256
from typing import Any, Final, TypeVar, cast

from faults.judging.entry import Entry
from shared.errors import Conflict
from shared.ids import WorkerId
from shared.protocol import execution as e
from shared.protocol import gateway as g
from shared.protocol import registry as r
from shared.protocol.base import Message
from shared.services import Body, Execution, Gateway, Registry
from simulation.history import History

T = TypeVar("T")

LONG: Final = 200  # characters of a value: of more the history keeps the hash


async def _seen(
    history: History, invoked: Entry, call: Awaitable[T], told: Callable[[T], dict[str, Any]]
) -> T:
    try:
        reply = await call
    except BaseException as error:
        history.fail(invoked, error)
        raise
    history.answer(invoked, **told(reply))
    return reply


class SeenGateway:
    """`Gateway` that is watched."""

    def __init__(self, inner: Gateway, history: History) -> None:
        self._inner = inner
        self._history = history

    async def claim(self, ask: g.ClaimRequest) -> g.ClaimReply:
        invoked = self._history.invoke("poll", claim_id=ask.claim_id)
        reply = await _seen(
            self._history,
            invoked,
            self._inner.claim(ask),
            lambda told: {"claims": len(told.claims), "reason": told.reason},
        )
        for c in reply.claims:
            self._history.event(
                "claim", run=c.run_id, job=c.job_id, attempt=c.attempt_id, fence=c.fence
            )
        return reply

    async def refuse(self, ask: g.RefuseRequest) -> None:
        invoked = self._history.invoke("refuse", attempt=ask.attempt_id)
        await _seen(self._history, invoked, self._inner.refuse(ask), lambda _: {})

    async def run(self, ask: g.RunRequest) -> g.RunContext:
        invoked = self._history.invoke("run", attempt=ask.attempt_id)
        return await _seen(
            self._history, invoked, self._inner.run(ask), lambda told: {"tries": told.tries}
        )

    async def heartbeat(self, ask: g.HeartbeatRequest) -> g.HeartbeatReply:
        invoked = self._history.invoke("heartbeat")
        return await _seen(
            self._history,
            invoked,
            self._inner.heartbeat(ask),
            lambda told: {
                "renewed": [v.attempt_id for v in told.leases if v.verdict is not g.Verdict.GONE],
                "to_stop": [v.attempt_id for v in told.leases if v.verdict is g.Verdict.CANCEL],
                "gone": [v.attempt_id for v in told.leases if v.verdict is g.Verdict.GONE],
            },
        )

    async def append_log(self, chunk: g.LogChunk, body: Body) -> g.LogReply:
        return await self._watched(chunk.attempt_id, self._inner.append_log(chunk, body))

    async def put_artifact(self, upload: g.ArtifactUpload, body: Body) -> g.ArtifactReply:
        return await self._watched(upload.attempt_id, self._inner.put_artifact(upload, body))

    async def _watched(self, attempt_id: str, call: Awaitable[T]) -> T:
        """Of the many pieces of a log, only those that were turned down for good are told of."""
        try:
            return await call
        except Conflict as error:
            self._history.event("turned_down", attempt=attempt_id, error=type(error).__name__)
            raise

    async def list_inputs(self, ask: g.InputListRequest) -> g.InputList:
        return await self._inner.list_inputs(ask)

    def read_input(self, ask: g.InputRequest) -> Body:
        return self._inner.read_input(ask)

    async def finish(self, ask: g.FinishRequest) -> g.FinishReply:
        invoked = self._history.invoke(
            "finish",
            attempt=ask.attempt_id,
            fence=ask.fence,
            outcome=ask.result.outcome.value,
            exit_code=ask.result.exit_code,
            artifacts=[a.path for a in ask.artifacts],
        )
        return await _seen(self._history, invoked, self._inner.finish(ask), _told_of_finish)


def _told_of_finish(reply: g.FinishReply) -> dict[str, Any]:
    if isinstance(reply, g.Receipt):
        return {"receipt": reply.receipt_id, "job_status": reply.job_status.value}
    return {"receipt": None}


def seen_execution(inner: Execution, history: History) -> Execution:
    """`inner`, watched: what tasks left of values, and what they found."""
    return cast(Execution, _SeenExecution(inner, history))


class _SeenExecution:
    """Every verb takes a scope and a request, so one can stand for all."""

    def __init__(self, inner: Execution, history: History) -> None:
        self._inner = inner
        self._history = history

    def __getattr__(self, verb: str) -> Callable[[e.Scope, e.DataRequest], Awaitable[Any]]:
        call = getattr(self._inner, verb)

        async def watched(scope: e.Scope, ask: e.DataRequest) -> Any:
            facts = _shortened(ask)
            invoked = self._history.invoke(verb, attempt=scope.attempt_id, **facts)
            return await _seen(self._history, invoked, call(scope, ask), _shortened)

        return watched


def _shortened(message: Message | None) -> dict[str, Any]:
    """What it says; of a value only which one it is."""
    if message is None:
        return {}
    facts = message.model_dump(mode="json", exclude={"ask", "url"})
    if "value" in facts:
        text = json.dumps(facts["value"], sort_keys=True)
        facts["value"] = text if len(text) < LONG else sha256(text.encode()).hexdigest()
    return facts


class SeenRegistry:
    """`Registry` that is watched."""

    def __init__(self, inner: Registry, history: History) -> None:
        self._inner = inner
        self._history = history

    async def enrol(self, ask: r.EnrolRequest) -> r.EnrolReply:
        invoked = self._history.invoke("enrol", name=ask.name, slots=ask.slots)
        return await _seen(
            self._history,
            invoked,
            self._inner.enrol(ask),
            lambda told: {"worker": told.worker_id, "incarnation": told.incarnation},
        )

    async def check_name(self, name: str) -> r.NameCheck:
        return await self._inner.check_name(name)

    async def report(self, ask: r.StatusReport) -> r.StatusReply:
        invoked = self._history.invoke(
            "report",
            status=ask.status.value,
            attempts=list(ask.attempts),
            worker=ask.worker_id,
            incarnation=ask.incarnation,
        )
        return await _seen(self._history, invoked, self._inner.report(ask), lambda _: {})

    async def leave(self, worker_id: WorkerId, incarnation: int) -> None:
        await self._inner.leave(worker_id, incarnation)

    async def list_workers(self) -> r.WorkerList:
        return await self._inner.list_workers()

    async def show_worker(self, name: str) -> r.WorkerDetails:
        return await self._inner.show_worker(name)

    async def wish(self, name: str, ask: r.WishRequest) -> r.WorkerView:
        return await self._inner.wish(name, ask)

    async def set_worker(self, name: str, ask: r.SettingsRequest) -> r.WorkerView:
        return await self._inner.set_worker(name, ask)

    async def remove(self, name: str) -> None:
        await self._inner.remove(name)
