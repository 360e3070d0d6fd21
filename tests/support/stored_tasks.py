"""Tasks at the job service, run by hand."""

from typing import Any

from pydantic import JsonValue

from shared.protocol import execution as e
from shared.protocol import gateway as g
from shared.protocol.pipeline import JobSpec
from tests.support.jobstore import ANN, Hands


def a_task(job_id: str, *needs: str, rule: str = "all_success", **fields: Any) -> JobSpec:
    """A function `job_id` that needs those jobs; `mapped_over`: what its parameter x is of."""
    mapped_over = fields.pop("mapped_over", None)
    task: dict[str, Any] = {"module": "flow", "function": job_id, "trigger_rule": rule}
    if mapped_over is not None:
        kind = {"kind": "result", "job": mapped_over}
        if isinstance(mapped_over, list):
            kind = {"kind": "literal", "value": mapped_over}
        task |= {"kwargs": {"x": kind}, "mapped": ["x"]}
    return JobSpec.model_validate({"id": job_id, "needs": needs, "task": task, **fields})


def scope_of(claim: g.Claim) -> e.Scope:
    return e.Scope(attempt_id=claim.attempt_id, worker_id=ANN, fence=claim.fence)


async def leave(hands: Hands, value: JsonValue, key: str = "return_value") -> g.Claim:
    """The next job leaves that and succeeds."""
    claim = await hands.start()
    await hands.service.execution.set_xcom(scope_of(claim), e.SetXCom(key=key, value=value))
    await hands.finish(claim, task=e.Succeed())
    return claim


async def end(hands: Hands, task: e.AttemptState, *, exit_code: int = 0) -> g.Claim:
    claim = await hands.start()
    outcome = g.Outcome.EXITED if isinstance(task, e.Succeed) else g.Outcome.TASK_ENDED
    await hands.finish(claim, exit_code, outcome=outcome, task=task)
    return claim
