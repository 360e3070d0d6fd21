"""Tasks that wait without a worker, and what a test does with them."""

import asyncio
from typing import Any

from pydantic import JsonValue

from jobstore.triggers.kinds import Http
from jobstore.triggers.ports import MayNot, NotYet
from shared.ids import JobId, RunId
from shared.protocol import execution as e
from shared.protocol import gateway as g
from shared.protocol.pipeline import JobSpec
from shared.protocol.questions import AnswerRequest
from tests.support.jobstore import ANN, BEN, Hands


class OneServer:
    """Answers with what it is told to."""

    def __init__(self) -> None:
        self.answer: JsonValue | NotYet | MayNot = NotYet("it answered 503")
        self.logins: list[e.Connection | None] = []

    def lane(self, wanted: Http) -> str:
        return wanted.url

    async def look(self, wanted: Http, login: e.Connection | None) -> JsonValue:
        self.logins.append(login)
        if isinstance(self.answer, NotYet | MayNot):
            raise self.answer
        return self.answer

    async def close(self) -> None: ...


def a_task(job_id: str, *needs: str, **fields: Any) -> JobSpec:
    task = {"module": "flow", "function": job_id}
    return JobSpec.model_validate({"id": job_id, "needs": needs, "task": task, **fields})


def a_wait(
    kind: str, *, timeout_s: float | None = None, on_timeout: str | None = None, **params: Any
) -> e.Defer:
    return e.Defer(
        trigger=e.TriggerSpec(kind=kind, params=params),
        next_method="after",
        arguments={"n": 1},
        timeout_s=timeout_s,
        on_timeout=on_timeout,
    )


async def defer(hands: Hands, wait: e.Defer | e.Reschedule) -> g.Claim:
    """The next job runs and goes to sleep."""
    claim = await hands.start()
    await hands.finish(claim, outcome=g.Outcome.TASK_ENDED, task=wait)
    return claim


async def one_asleep(hands: Hands, wait: e.Defer | e.Reschedule, **fields: Any) -> RunId:
    run_id = await hands.submit(a_task("a", **fields))
    await defer(hands, wait)
    await hands.service.triggers.look_once()
    return run_id


async def look(hands: Hands, after_s: float = 0.0) -> None:
    """Time has passed, and what came about meanwhile has been told."""
    await hands.runtime.advance(after_s)
    await hands.service.triggers.look_once()


async def goes_on(hands: Hands) -> g.RunContext:
    (claim,) = await hands.claim(BEN)
    return await hands.run(claim, BEN)


def resumed(context: g.RunContext) -> e.Resumption:
    assert context.task is not None
    assert context.task.resume is not None
    return context.task.resume


# -- files and servers -------------------------------------------------------------------------


async def until_status(hands: Hands, run_id: RunId, job_id: str, status: str) -> None:
    """Looks are taken on a thread: it takes a few turns until they are told."""
    async with asyncio.timeout(5):
        while (await hands.status(run_id))[job_id] != status:
            await hands.runtime.advance(6)
            await asyncio.sleep(0.005)


# -- questions ---------------------------------------------------------------------------------

QUESTION = a_wait(
    "question",
    question="Deploy 1.2?",
    choices=["yes", "no"],
    fields=[
        {"name": "reason", "default": ""},
        {"name": "hosts", "kind": "number"},
        {"name": "loud", "kind": "boolean", "default": False},
    ],
)


def an_answer(run_id: RunId, choice: str | None = "yes", **values: JsonValue) -> AnswerRequest:
    return AnswerRequest(run_id=run_id, job_id=JobId("a"), by="eve", choice=choice, values=values)


async def a_callback(hands: Hands) -> tuple[g.Claim, str, str]:
    """A running attempt, and the id and the secret of a callback that it asked for."""
    claim = await hands.start()
    scope = e.Scope(attempt_id=claim.attempt_id, worker_id=ANN, fence=claim.fence)
    made = await hands.service.execution.new_callback(scope, e.NewCallback())
    start, _, secret = made.url.rpartition("/")
    assert start == f"http://jobs.example:7402/v1/callbacks/{made.callback_id}"
    return claim, made.callback_id, secret
