"""A task's pipes: what it prints is in the log, frames are answered, no flood harms."""

import asyncio
import os
import signal
from contextlib import suppress

import pytest

from shared.protocol import execution as e
from shared.protocol.gateway import Outcome
from tests.support.tasks import REQUESTS, RETURNED, TaskStage

pytestmark = pytest.mark.slow


async def test_whatever_a_task_writes_goes_to_the_log(stage: TaskStage) -> None:
    ended = await stage.run_body(r"""
        import ctypes, os, subprocess, sys
        print('{"id":1,"ask":"fail","reason":"printed"}')
        sys.stdout.buffer.write(b"\xff\x00 binary\n"); sys.stdout.flush()
        os.write(1, b"one\n"); os.write(2, b"two\n")
        ctypes.CDLL(None).puts(b"from C"); ctypes.CDLL(None).fflush(None)
        subprocess.run(["sh", "-c", "echo child; cat"])
        print("half a pair \ud800", file=sys.stderr)
        sys.stdout.write("no newline")
    """)

    assert ended.result.outcome is Outcome.EXITED
    assert ended.log == (
        '{"id":1,"ask":"fail","reason":"printed"}\n'
        "\ufffd\x00 binary\none\ntwo\nfrom C\nchild\nhalf a pair \\ud800\nno newline"
    )


async def test_a_large_log_is_whole(stage: TaskStage) -> None:
    ended = await stage.run_body("for n in range(50_000): print(n)")

    assert ended.log.split() == [str(n) for n in range(50_000)]


async def test_a_process_that_escapes_its_group_holds_nobody_up(stage: TaskStage) -> None:
    ended = await stage.run_body("""
        import os, time
        if os.fork() == 0:
            os.setsid()
            os.write(1, b"%d\\n" % os.getpid())
            while True: time.sleep(1)
        time.sleep(0.2)
        return 1
    """)

    with suppress(ProcessLookupError):  # it was ended with its task
        os.kill(int(ended.log), signal.SIGKILL)
    assert ended.result.outcome is Outcome.EXITED


async def test_a_forked_child_that_comes_back_says_nothing(stage: TaskStage) -> None:
    ended = await stage.run_body("""
        import os
        if child := os.fork():
            os.waitpid(child, 0)
        return child != 0
    """)

    assert ended.result.outcome is Outcome.EXITED
    assert stage.execution.xcoms[RETURNED] is True
    assert ended.log == ""


# -- frames that are none -----------------------------------------------------------------------


async def test_garbage_among_the_requests_is_answered_and_survived(stage: TaskStage) -> None:
    ended = await stage.run_body(f"""
        import os
        os.write({REQUESTS}, b"garbage\\n")
        try:
            variables.get("k")
        except AskFailed as error:
            print(error.code)
        variables.get("k", 1)
        return 1
    """)

    assert "drawbar: the task runner wrote what is no request: not a line of JSON" in ended.log
    assert "bad_request" in ended.log


async def test_a_flood_of_garbage_ends_the_task(stage: TaskStage) -> None:
    ended = await stage.run_body(f"""
        import os
        out = {REQUESTS}
        while True: os.write(out, b"garbage\\n" * 100)
    """)

    assert ended.result.message == "the task runner wrote 100 lines that are no requests"


async def test_a_frame_without_an_end_is_read_over_and_answered(stage: TaskStage) -> None:
    ended = await stage.run_body(f"""
        import os
        out = {REQUESTS}
        for _ in range(1_000): os.write(out, b"x" * 65_536)
        os.write(out, b"\\n")
        try:
            variables.get("k")
        except AskFailed as error:
            return error.code
    """)

    assert ended.result.outcome is Outcome.EXITED
    assert stage.execution.xcoms[RETURNED] == "too_large"


async def test_a_flood_of_requests_waits_for_its_answers(stage: TaskStage) -> None:
    body = f"""
        import os, time
        out = {REQUESTS}
        frame = b'{{"id":1,"ask":"get_xcom","job":"x"}}\\n'
        os.set_blocking(out, False)
        sent = 0
        try:
            while True: sent += os.write(out, frame * 1_000)
        except BlockingIOError:
            pass
        print(sent)
        time.sleep(60)
    """
    hold = asyncio.Event()
    get_xcom = stage.execution.get_xcom

    async def slow(scope: e.Scope, ask: e.GetXCom) -> e.XCom:
        await hold.wait()
        return await get_xcom(scope, ask)

    stage.execution.get_xcom = slow  # type: ignore[method-assign]  # as a service that is slow
    process, log = await stage.start(
        stage.spec_of(f"@task\ndef go():\n{body}\nwith pipeline('p'): go()\n")
    )
    waiter = asyncio.ensure_future(process.wait())
    async with asyncio.timeout(10):
        while not log.read_bytes():  # noqa: ASYNC110 - nothing tells when a process has written
            await asyncio.sleep(0.01)

    assert int(log.read_bytes()) < 1_000_000

    hold.set()
    process.kill()
    await process.reap()
    assert (await waiter).signal == signal.SIGKILL


async def test_many_tasks_at_once_leak_no_descriptors(stage: TaskStage) -> None:
    spec = stage.spec_of("@task\ndef go(): return 1\nwith pipeline('p'): go()\n")
    await asyncio.gather(*(stage.run(spec) for _ in range(10)))  # some keepers stay for later
    before = len(os.listdir("/proc/self/fd"))

    ended = await asyncio.gather(*(stage.run(spec) for _ in range(10)))

    assert {end.result.outcome for end in ended} == {Outcome.EXITED}
    assert len(os.listdir("/proc/self/fd")) == before
