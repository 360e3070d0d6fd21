"""The supervisor's end of a task's pipes, with anything that a runner may write into it."""

import asyncio
import json
import os
import signal

from hypothesis import given, settings
from hypothesis import strategies as st

from shared.faultpoints import Facts, spoiler
from shared.ids import AttemptId, WorkerId
from shared.protocol import execution as e
from shared.protocol.gateway import Usage
from shared.runtime import SystemRuntime
from tests.support.execution import MemoryExecution
from worker.ports import Exit, TaskEnd
from worker.tasks.masking import Masker
from worker.tasks.pipes import HalfFrame, Lines, LogPipe, Oversized, Writer, open_pipe
from worker.tasks.requests import Requests
from worker.tasks.supervisor import MOST_COMPLAINTS, TaskProcess

USED = Usage(wall_s=0.0, cpu_s=None, max_rss_bytes=None)
SCOPE = e.Scope(attempt_id=AttemptId("a"), worker_id=WorkerId("w"), fence=1)


class EndingProcess:
    """`Process` that ends well when it is told to, and at once when it is signalled."""

    pid = 1

    def __init__(self) -> None:
        self.exit = asyncio.get_running_loop().create_future()

    async def wait(self) -> Exit:
        ended: Exit = await asyncio.shield(self.exit)
        return ended

    def end(self, code: int | None, number: int | None) -> None:
        if not self.exit.done():
            self.exit.set_result(Exit(exit_code=code, signal=number, usage=USED))

    def terminate(self) -> None:
        self.end(None, signal.SIGTERM)

    def kill(self) -> None:
        self.end(None, signal.SIGKILL)

    async def reap(self) -> None: ...

    def release(self) -> None: ...


async def talk(pieces: list[bytes]) -> tuple[list[dict[str, object]], TaskEnd]:
    """The replies to what a runner wrote in these pieces, and what is known of its end."""
    runtime = SystemRuntime()
    (requests, to_supervisor), (from_supervisor, replies) = open_pipe(), open_pipe()
    (output, printed), log = open_pipe(), os.open(os.devnull, os.O_WRONLY)
    process, masker = EndingProcess(), Masker()
    asked = Requests(MemoryExecution(), SCOPE, masker, runtime, lambda why: task.end(why))

    async def nothing() -> None: ...

    task = TaskProcess(
        process,
        asked,
        Lines(requests),
        Writer(replies),
        LogPipe(output, log, masker),
        b'{"kind":"start"}\n',
        runtime,
        nothing,
    )
    told = Lines(from_supervisor)
    async with asyncio.timeout(10), asyncio.TaskGroup() as group:
        waiting = group.create_task(task.wait())
        heard = group.create_task(_all_of(told))
        for piece in pieces:
            os.write(to_supervisor, piece)
            await asyncio.sleep(0)
        os.close(to_supervisor)
        process.end(0, None)
        ended = await waiting
        frames = await heard
    await task.reap()
    told.close()
    os.close(printed)
    assert ended.task is not None
    assert json.loads(frames[0]) == {"kind": "start"}
    return [json.loads(frame) for frame in frames[1:]], ended.task


async def _all_of(lines: Lines) -> list[bytes]:
    found = []
    while isinstance(line := await lines.next(), bytes):
        found.append(line)
    return found


REQUESTS = [
    b'{"id":7,"ask":"get_variable","key":"k"}',
    b'{"id":8,"ask":"set_xcom","value":[1]}',
    b'{"id":9,"ask":"mask_secret","values":["hunter22"]}',
]
garbage = st.binary(max_size=60).map(lambda text: text.replace(b"\n", b""))
lines = st.lists(st.sampled_from(REQUESTS) | garbage, max_size=20)


@settings(max_examples=100)
@given(lines, st.lists(st.integers(1, 200), max_size=8))
def test_whatever_a_runner_writes_each_line_gets_one_reply_in_its_order(
    written: list[bytes], cuts: list[int]
) -> None:
    text = b"".join(line + b"\n" for line in written)
    pieces = []
    for cut in cuts:
        pieces.append(text[:cut])
        text = text[cut:]

    replies, task = asyncio.run(talk([*pieces, text]))

    assert len(replies) == len(written)
    for line, reply in zip(written, replies, strict=True):
        if line in REQUESTS:
            assert reply["id"] == json.loads(line)["id"]
        else:
            assert "error" in reply
    assert task.state is None
    assert "exited with 0 without saying how the task ended" in task.flaw


@given(lines, garbage.filter(bool))
def test_a_line_without_an_end_is_half_a_frame(written: list[bytes], rest: bytes) -> None:
    text = b"".join(line + b"\n" for line in written)

    replies, task = asyncio.run(talk([text + rest]))

    assert len(replies) == len(written)
    assert task.flaw == "the task runner ended in the middle of a frame"


def test_so_many_lines_that_are_no_requests_are_enough() -> None:
    _, task = asyncio.run(talk([b"?\n" * (MOST_COMPLAINTS + 50)]))

    assert task.flaw == f"the task runner wrote {MOST_COMPLAINTS} lines that are no requests"


@given(st.lists(st.binary(max_size=40), max_size=20))
def test_lines_are_those_that_were_written_however_they_were_cut(pieces: list[bytes]) -> None:
    whole = b"".join(pieces)

    async def read() -> tuple[list[bytes | Oversized], bool]:
        fd, to = open_pipe()
        lines = Lines(fd)
        found: list[bytes | Oversized] = []
        for piece in pieces:
            os.write(to, piece)
        os.close(to)
        try:
            while (line := await lines.next()) is not None:
                found.append(line)
        except HalfFrame:
            return found, True
        finally:
            lines.close()
        return found, False

    found, is_half = asyncio.run(read())

    ends = whole.split(b"\n")
    assert found == [line + b"\n" for line in ends[:-1]]
    assert is_half == bool(ends[-1])


def test_a_frame_that_was_damaged_on_its_way_is_no_request() -> None:
    async def halve(point: str, data: bytes, facts: Facts) -> bytes:
        assert facts == {"attempt": SCOPE.attempt_id}
        return data[: len(data) // 2] if point == "worker.task.request" else data

    async def told() -> list[dict[str, object]]:
        spoiler.set(halve)
        return (await talk([REQUESTS[0] + b"\n"]))[0]

    (reply,) = asyncio.run(told())

    assert reply["error"] is not None
