"""What tasks do that they should not: each tells why it failed, and disturbs nothing beside it.

Every case runs next to a task that goes on, and before one that comes after, each in a real task
runner: a copy of one warm server, where it can disturb most; `make prove` runs them cold as well.
"""

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from shared.protocol.gateway import Outcome
from tests.support.tasks import Ended, TaskStage, attempt
from worker.runners.marks import kill_marked

pytestmark = pytest.mark.slow

RETURNED = ("(own)", "return_value")
# The private copies of descriptors 1 and 0, for a task that means harm.
OUT = "__import__('drawbar.sdk.current', fromlist=['_'])._Running.ask.__self__._requests"
UNTOLD = "without saying how the task ended"

FLOW = """
    import os, sys, time

    @task
    def neighbour(gate):
        print("up")
        asked = 0
        while not os.path.exists(gate):
            asked += variables.get("none", 1)
            time.sleep(0.005)
        return [asked > 0, os.getppid()]

    @task
    def go():
        {body}

    with pipeline("p"):
        neighbour({gate!r})
        go()
"""


@pytest.fixture(params=[pytest.param("cold", marks=pytest.mark.prove), "warm"])
async def stage(tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[TaskStage]:
    stage = TaskStage(tmp_path, is_warm=request.param == "warm")
    yield stage
    await stage.close()


async def until_up(log: Path) -> None:
    async with asyncio.timeout(10):
        while not os.stat(log).st_size:  # noqa: ASYNC110 - nothing tells of it
            await asyncio.sleep(0.005)


async def run_beside_others(stage: TaskStage, body: str, file: str | None = None) -> Ended:
    """How a task with that body ended (or one of that other flow), while a neighbour ran."""
    gate = stage.folder / "gate"
    inner = body.replace("OUT", OUT).replace("\n", "\n        ")
    text = FLOW.format(body=inner if file is None else "pass", gate=str(gate))
    neighbour = stage.spec_of(text, "neighbour")
    bad = stage.spec_of(text) if file is None else stage.spec_of(body, name=file)
    process, log = await stage.start(neighbour)
    waiting = asyncio.ensure_future(process.wait())
    await until_up(log)

    ended = await stage.run(bad)

    assert kill_marked([attempt(2)]) == []  # the bad one's: nothing of it has outlived it
    gate.touch()
    task = (await waiting).task
    await process.reap()
    assert task is not None
    assert (task.state and task.state.ask, log.read_bytes()) == ("succeed", b"up\n")
    first = stage.execution.xcoms[RETURNED]
    after = await stage.run(neighbour)
    assert (after.result.outcome, after.log) == (Outcome.EXITED, "up\n")
    if stage.is_warm:
        assert isinstance(first, list)
        assert [False, *first[1:]] == stage.execution.xcoms[RETURNED]  # the server lives on
    return ended


@pytest.mark.parametrize(
    ("body", "outcome", "says"),
    [
        ("os.write(1, bytes(range(256)) * 4_000)", Outcome.EXITED, ""),
        (
            'os.write(OUT, b\'{"id":1,"as\'); os._exit(0)',
            Outcome.TASK_BROKEN,
            "the task runner ended in the middle of a frame",
        ),
        (
            "while True: os.write(OUT, b'\\xff garbage \\x00\\n' * 100)",
            Outcome.TASK_BROKEN,
            "the task runner wrote 100 lines that are no requests",
        ),
        ("return lambda: 1", Outcome.TASK_ENDED, "of type function, which JSON cannot say"),
        ("return open(os.devnull)", Outcome.TASK_ENDED, "of type TextIOWrapper, which JSON cannot"),
        ("return 'x' * (1 << 30)", Outcome.TASK_ENDED, "more than 4194304 bytes as JSON"),
        ("return ['x' * 1_000] * 1_000_000", Outcome.TASK_ENDED, "more than 4194304 bytes as JSON"),
        ("if os.fork(): os._exit(3)\nwhile True: pass", Outcome.TASK_BROKEN, f"with 3 {UNTOLD}"),
        ("if os.fork(): sys.exit(0)\ntime.sleep(60)", Outcome.EXITED, ""),
        ("os._exit(0)", Outcome.TASK_BROKEN, f"exited with 0 {UNTOLD}"),
        ("os._exit(7)", Outcome.TASK_BROKEN, f"exited with 7 {UNTOLD}"),
        ("import ctypes; ctypes.string_at(0)", Outcome.TASK_BROKEN, "signal 11 (SIGSEGV)"),
        ("os.abort()", Outcome.TASK_BROKEN, "signal 6 (SIGABRT)"),
        ("def f(): return f()\nf()", Outcome.TASK_ENDED, "RecursionError: maximum recursion depth"),
        (
            # The stack itself, which Python's limit does not know of.
            "import ctypes\n"
            "kind = ctypes.CFUNCTYPE(None)\n"
            "sys.setrecursionlimit(10**9)\n"
            "def f(): call()\n"
            "call = kind(f); call()",
            Outcome.TASK_BROKEN,
            "signal 11 (SIGSEGV)",
        ),
    ],
)
async def test_a_bad_task_says_why_and_disturbs_nobody(
    stage: TaskStage, body: str, outcome: Outcome, says: str
) -> None:
    ended = await run_beside_others(stage, body)

    assert ended.result.outcome is outcome
    assert says in ended.result.message
    assert len(ended.result.message) < 2_000


AT_IMPORT = """
    import os, sys
    @task
    def go(): ...
    with pipeline("p"): go()
    if "bundles" in __file__:
        {top}
"""


@pytest.mark.parametrize("stage", ["warm"], indirect=True)
@pytest.mark.parametrize(
    ("top", "says"),
    [
        ("os._exit(9)", f"exited with 9 {UNTOLD}"),
        ("os.kill(os.getpid(), 11)", "signal 11 (SIGSEGV)"),
        ("os.kill(os.getpid(), 9)", "signal 9 (SIGKILL"),
        ("sys.exit(0)", "cannot be imported: exit code 0"),
        ("def f(): f()\n        f()", "cannot be imported: RecursionError"),
    ],
)
async def test_a_module_that_ends_its_interpreter_says_why_and_disturbs_nobody(
    stage: TaskStage, top: str, says: str
) -> None:
    ended = await run_beside_others(stage, AT_IMPORT.format(top=top), "bad.py")

    assert says in ended.result.message


@pytest.mark.parametrize("stage", ["warm"], indirect=True)
@pytest.mark.parametrize("name", ["shared", "worker", "drawbar", "json"])
async def test_a_flow_with_a_name_of_ours_disturbs_nobody(stage: TaskStage, name: str) -> None:
    text = "@task\ndef go(): print(__name__, __file__)\nwith pipeline('p'): go()\n"

    ended = await run_beside_others(stage, text, f"{name}.py")

    assert ended.result.outcome is Outcome.EXITED
    assert ended.log.startswith(f"{name} ")
    assert ended.log.endswith(f"/{name}.py\n")


async def test_requests_whose_replies_nobody_reads_hold_up_their_own_task_only(
    stage: TaskStage,
) -> None:
    spec = stage.spec_of(
        f"""
        import os
        @task
        def go():
            print("up")
            ask = b'{{"id":1,"ask":"get_variable","key":"none"}}\\n'
            while True: os.write({OUT}, ask * 1_000)
        with pipeline("p"): go()
        """
    )
    process, log = await stage.start(spec)
    waiting = asyncio.ensure_future(process.wait())
    await until_up(log)

    beside = await stage.run_body("return [variables.get('none', n) for n in range(100)]")

    assert beside.result.outcome is Outcome.EXITED
    assert stage.execution.asked.count("get_variable") < 2_000  # what replies a pipe can hold
    process.kill()
    assert (await waiting).signal == 9
    await process.reap()
