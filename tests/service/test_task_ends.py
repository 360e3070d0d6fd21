"""How a task ends: as it wishes, by a mistake of its own, or because it is stopped."""

import asyncio
import signal
from datetime import datetime

import pytest

from shared.errors import StaleFence
from shared.protocol import execution as e
from shared.protocol.gateway import Outcome
from tests.support.tasks import REQUESTS, TaskStage

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(
    ("body", "state"),
    [
        ("raise Skip('nothing new')", e.Skip(reason="nothing new")),
        ("raise Fail('never')", e.Fail(reason="never", may_retry=False)),
        ("raise Retry('locked', delay='5s')", e.Retry(reason="locked", delay_s=5.0)),
        (
            "raise Defer('delta', seconds=9, resume='later', arguments={'n': 1}, timeout=60)",
            e.Defer(
                trigger=e.TriggerSpec(kind="delta", params={"seconds": 9}),
                next_method="later",
                arguments={"n": 1},
                timeout_s=60.0,
            ),
        ),
        (
            "import datetime as d\n"
            "raise Reschedule(d.datetime(2026, 1, 1, tzinfo=d.timezone.utc), 'not yet')",
            e.Reschedule(at=datetime.fromisoformat("2026-01-01T00:00:00Z"), reason="not yet"),
        ),
        ("try: raise Skip('x')\nexcept Exception: pass", e.Skip(reason="x")),
    ],
)
async def test_a_task_can_end_in_other_ways(
    stage: TaskStage, body: str, state: e.AttemptState
) -> None:
    ended = await stage.run_body(body)

    assert ended.result.outcome is Outcome.TASK_ENDED
    assert ended.result.task == state
    assert ended.exit.exit_code == (1 if isinstance(state, e.Fail) else 0)


BROKEN = "without saying how the task ended"


@pytest.mark.parametrize(
    ("body", "outcome", "says"),
    [
        ("raise ValueError('no rows')", Outcome.TASK_ENDED, "ValueError: no rows"),
        ("raise ValueError('\\ud800')", Outcome.TASK_ENDED, "ValueError: \\ud800"),
        ("raise KeyboardInterrupt", Outcome.TASK_ENDED, "KeyboardInterrupt"),
        ("import sys; sys.exit(4)", Outcome.TASK_ENDED, "the task called sys.exit(4)"),
        ("return object()", Outcome.TASK_ENDED, "of type object, which JSON cannot say"),
        ("return lambda: 1", Outcome.TASK_ENDED, "of type function, which JSON cannot say"),
        ("return 'x' * (1 << 26)", Outcome.TASK_ENDED, "more than 4194304 bytes as JSON"),
        ("return bytes(1 << 30)", Outcome.TASK_ENDED, "of type bytes"),
        ("x = []\nfor _ in range(10**5): x = [x]\nreturn x", Outcome.TASK_ENDED, "100 levels"),
        ("def f(): return f()\nf()", Outcome.TASK_ENDED, "RecursionError"),
        ("raise MemoryError", Outcome.TASK_ENDED, "MemoryError"),
        ("import os; os._exit(0)", Outcome.TASK_BROKEN, f"exited with 0 {BROKEN}"),
        ("import os; os._exit(7)", Outcome.TASK_BROKEN, f"exited with 7 {BROKEN}"),
        ("import os; os.abort()", Outcome.TASK_BROKEN, "signal 6 (SIGABRT)"),
        ("import ctypes; ctypes.string_at(0)", Outcome.TASK_BROKEN, "signal 11 (SIGSEGV)"),
        ("import os; os.kill(os.getpid(), 9)", Outcome.TASK_BROKEN, "was there no memory left?"),
        ("import os\nif os.fork(): os._exit(3)\nwhile True: pass", Outcome.TASK_BROKEN, "with 3"),
        (
            'import os; os.write(REQUESTS, b\'{"id":1,"as\'); os._exit(0)',
            Outcome.TASK_BROKEN,
            "ended in the middle of a frame",
        ),
        ("xcom.push('k', 'x' * 5_000_000)", Outcome.TASK_ENDED, "more than 4194304 bytes"),
        ("return nothing", Outcome.TASK_ENDED, "NameError"),
    ],
)
async def test_misbehaviour_ends_with_a_clear_reason(
    stage: TaskStage, body: str, outcome: Outcome, says: str
) -> None:
    ended = await stage.run_body(body.replace("REQUESTS", REQUESTS))

    assert ended.result.outcome is outcome
    assert says in ended.result.message
    assert stage.execution.xcoms == {}


async def test_a_stack_that_is_gone_is_a_reason(stage: TaskStage) -> None:
    ended = await stage.run_body("""
        import sys
        sys.setrecursionlimit(10**9)
        deep = []
        for _ in range(10**6): deep = [deep]
        repr(deep)
    """)

    # It depends on the interpreter whether its own limit or the machine's comes first.
    assert "SIGSEGV" in ended.result.message or "RecursionError" in ended.result.message


@pytest.mark.parametrize(
    ("top", "says"),
    [
        ("raise ValueError('at import')", "cannot be imported: ValueError: at import"),
        ("import sys; sys.exit(0)", "cannot be imported: exit code 0"),
        ("import os; os._exit(9)", f"exited with 9 {BROKEN}"),
        ("import os; os.kill(os.getpid(), 11)", "signal 11 (SIGSEGV)"),
        ("import not_here", "ModuleNotFoundError: No module named 'not_here'"),
        ("del go", "module 'flow' has no function 'go'"),
    ],
)
async def test_a_module_that_cannot_be_loaded_says_why(
    stage: TaskStage, top: str, says: str
) -> None:
    ended = await stage.run_flow(f"""
        @task
        def go(): ...
        with pipeline("p"): go()
        from pathlib import Path
        if "bundles" in __file__:
            {top}
    """)

    assert says in ended.result.message


# -- stops --------------------------------------------------------------------------------------


async def test_a_task_that_is_stopped_can_clean_up(stage: TaskStage) -> None:
    spec = stage.spec_of("""
        import time
        @task
        def go():
            try:
                print("up")
                time.sleep(60)
            except Exception:
                print("swallowed")
            finally:
                print("cleaned up")
        with pipeline("p"): go()
    """)
    process, log = await stage.start(spec)
    waiter = asyncio.ensure_future(process.wait())
    async with asyncio.timeout(10):
        while b"up" not in log.read_bytes():  # noqa: ASYNC110 - nothing tells of it
            await asyncio.sleep(0.01)

    process.terminate()
    ended = await waiter
    await process.reap()

    assert ended.signal == signal.SIGTERM
    assert log.read_bytes() == b"up\ncleaned up\n"


async def test_a_task_is_stopped_when_its_attempt_is_over(stage: TaskStage) -> None:
    stage.execution.failures = [StaleFence("another worker has the job", state="lost")]

    ended = await stage.run_body("""
        import time
        try:
            variables.get("k")
        except AskFailed:
            time.sleep(60)
    """)

    assert ended.result.outcome is Outcome.TASK_BROKEN
    assert ended.result.message == "the attempt is over: another worker has the job"
    assert "drawbar: the attempt is over" in ended.log


async def test_a_runner_that_does_not_exit_is_ended_and_its_result_stands(
    stage: TaskStage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("worker.tasks.supervisor.OVERTIME_S", 0.2)

    ended = await stage.run_body("""
        import threading, time
        threading.Thread(target=time.sleep, args=(60,)).start()
        return 5
    """)

    assert ended.exit.signal == signal.SIGKILL
    assert (ended.result.outcome, ended.result.exit_code) == (Outcome.EXITED, 0)
