"""A task in words that others know: those of policies, and of the report to the job service."""

from shared.protocol import execution as e
from shared.protocol.gateway import Outcome, Result, RunContext
from worker.ports import Exit, TaskEnd


def judge_task(ended: Exit, task: TaskEnd) -> Result:
    """A success counts as an exit with 0, whatever the runner's process did after it."""
    if task.state is None:
        return Result(
            outcome=Outcome.TASK_BROKEN,
            exit_code=ended.exit_code,
            signal=ended.signal,
            message=task.flaw[:2_000],
        )
    if isinstance(task.state, e.Succeed):
        return Result(outcome=Outcome.EXITED, exit_code=0, task=task.state)
    return Result(
        outcome=Outcome.TASK_ENDED,
        exit_code=ended.exit_code,
        signal=ended.signal,
        message=_reason(task.state)[:2_000],
        task=task.state,
    )


def with_command(context: RunContext) -> RunContext:
    """The same with a command by which policies can judge a task: its own runner's, or
    `drawbar-task module:function`. Nothing is started by it."""
    if context.task is None:
        return context
    spec = context.task.spec
    argv = spec.runner or ("drawbar-task", f"{spec.module}:{spec.function}")
    return context.model_copy(update={"argv": argv})


def _reason(state: e.AttemptState) -> str:
    return state.reason if isinstance(state, e.Fail | e.Skip | e.Retry | e.Reschedule) else ""
