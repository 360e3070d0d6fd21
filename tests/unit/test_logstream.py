"""How an attempt's log travels."""

import os
from hashlib import sha256

import pytest

from shared.errors import Unavailable
from shared.protocol.gateway import INLINE_LOG_BYTES
from shared.protocol.states import AttemptStatus
from shared.services import PIECE_BYTES
from tests.support.gateway import FakeGateway, Held, Job
from tests.support.processes import MemoryFiles
from tests.support.runtime import ManualRuntime
from worker.logstream import TICK_S, LogStream


class Holder:
    """What a stream needs to know of its attempt."""

    def __init__(self, attempt: Held) -> None:
        self.attempt_id = attempt.attempt_id
        self.worker_id = "w"
        self.fence = attempt.fence
        self.phase = "executing"
        self.cancels = 0

    def cancel(self) -> None:
        self.cancels += 1

    def lose(self, reason: str) -> None: ...

    def fence_off(self, grace_s: float) -> None: ...


class Stage:
    def __init__(self) -> None:
        self.gateway = FakeGateway()
        self.attempt = self.gateway.add(Job())
        self.attempt.state = AttemptStatus.RUNNING
        self.files = MemoryFiles(self.attempt.attempt_id)
        self.runtime = ManualRuntime()
        self.holder = Holder(self.attempt)
        self.stream = LogStream(
            self.holder,  # type: ignore[arg-type]  # its worker_id is a plain string
            self.files,
            self.gateway,
            self.runtime,
            self.holder.cancel,
        )


@pytest.fixture
async def stage() -> Stage:
    return Stage()


async def test_a_short_log_travels_inside_finish(stage: Stage) -> None:
    stage.files.log_bytes = b"hello\n"

    summary = await stage.stream.settle()

    assert (summary.tail_offset, summary.tail) == (0, b"hello\n")
    assert "append_log" not in stage.gateway.calls


async def test_a_long_log_is_sent_in_bounded_pieces_but_for_its_tail(stage: Stage) -> None:
    stage.files.log_bytes = data = os.urandom(3 * PIECE_BYTES + 17)

    summary = await stage.stream.settle()

    assert stage.attempt.log + summary.tail == data
    assert len(summary.tail) <= INLINE_LOG_BYTES
    assert summary.sha256 == sha256(data).hexdigest()
    assert stage.files.largest_read <= PIECE_BYTES


async def test_a_young_log_is_left_alone_and_then_sent(stage: Stage) -> None:
    stage.files.log_bytes = b"one\n"
    young = await stage.stream.has_news()

    await stage.runtime.advance(TICK_S)
    assert await stage.stream.has_news()
    await stage.stream.send_news()

    assert not young
    assert stage.attempt.log == b"one\n"
    assert not await stage.stream.has_news()


async def test_bytes_that_the_server_lost_are_sent_again(stage: Stage) -> None:
    stage.files.log_bytes = b"abc"
    await stage.stream.send_news()
    stage.attempt.log = b"a"
    stage.files.log_bytes = data = b"abcdef"

    await stage.stream.send_news()

    assert stage.attempt.log == data
    assert (await stage.stream.settle()).sha256 == sha256(data).hexdigest()


async def test_a_server_that_holds_more_than_we_know_of_is_believed(stage: Stage) -> None:
    stage.files.log_bytes = data = b"abcdef"
    stage.attempt.log = b"abcd"  # an answer of ours was lost

    await stage.stream.send_news()
    summary = await stage.stream.settle()

    assert stage.attempt.log == data
    assert summary.sha256 == sha256(data).hexdigest()


async def test_an_outage_puts_the_stream_off_and_loses_nothing(stage: Stage) -> None:
    stage.files.log_bytes = b"abc"
    stage.gateway.away.add("append_log")
    await stage.runtime.advance(1)

    await stage.stream.send_news()
    stage.gateway.away.clear()
    await stage.runtime.advance(10)
    await stage.stream.send_news()

    assert stage.attempt.log == b"abc"


async def test_settling_while_the_gateway_is_away_says_so(stage: Stage) -> None:
    stage.files.log_bytes = b"x" * (2 * INLINE_LOG_BYTES)
    stage.gateway.away.add("append_log")

    with pytest.raises(Unavailable):
        await stage.stream.settle()


async def test_a_cancel_on_the_answer_to_a_piece_reaches_the_attempt(stage: Stage) -> None:
    stage.files.log_bytes = b"abc"
    stage.attempt.is_cancelled = True

    await stage.stream.send_news()

    assert stage.holder.cancels == 1


async def test_a_log_that_the_job_cut_short_still_adds_up(stage: Stage) -> None:
    stage.files.log_bytes = b"abcdef"
    await stage.stream.send_news()
    stage.files.log_bytes = b"x"

    summary = await stage.stream.settle()

    whole = stage.attempt.log[: summary.tail_offset] + summary.tail
    assert summary.size_bytes == len(whole)
    assert summary.sha256 == sha256(whole).hexdigest()


async def test_what_the_server_held_and_cannot_be_read_any_more_is_counted(stage: Stage) -> None:
    """By the worker that comes after a loss of power, which has torn the file."""
    stage.attempt.log = b"abcdef"
    stage.files.log_bytes = b"abc"

    await stage.stream.send_news()
    summary = await stage.stream.settle()

    assert (summary.size_bytes, summary.lost_bytes) == (3, 3)


async def test_what_can_be_read_again_was_not_lost(stage: Stage) -> None:
    """It came later to the disk, or was held back as it might have begun a secret."""
    stage.attempt.log = b"abcdef"
    stage.files.log_bytes = b"abc"

    await stage.stream.send_news()
    stage.files.log_bytes = b"abcdefghi"
    summary = await stage.stream.settle()

    assert (summary.size_bytes, summary.lost_bytes) == (9, 0)


async def test_bytes_that_the_disk_does_not_give_are_counted(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage.files.log_bytes = b"abcdef"
    read = stage.files.read_log

    async def torn(offset: int, limit: int) -> bytes:
        return (await read(offset, limit))[: max(0, 4 - offset)]

    monkeypatch.setattr(stage.files, "read_log", torn)

    summary = await stage.stream.settle()

    assert (summary.tail, summary.lost_bytes) == (b"abcd", 2)


async def test_bytes_that_the_job_took_back_before_they_were_sent_are_counted(
    stage: Stage,
) -> None:
    stage.files.log_bytes = b"abcdef"
    await stage.stream.send_news()
    stage.stream.rewind(2)  # the server lost what it had, and the job has emptied its log since
    stage.files.log_bytes = b""

    summary = await stage.stream.settle()

    assert summary.lost_bytes == 4
    assert summary.tail == b"[drawbar] 4 bytes were lost here\n"
    assert summary.size_bytes == 2 + len(summary.tail)


async def test_a_log_over_the_servers_limit_is_cut_there_and_the_rest_counted(
    stage: Stage,
) -> None:
    stage.files.log_bytes = data = os.urandom(3 * PIECE_BYTES + 17)
    await stage.stream.send_news()
    held = len(stage.attempt.log)
    stage.stream.fill()

    summary = await stage.stream.settle()

    assert (summary.size_bytes, summary.tail) == (held, b"")
    assert summary.sha256 == sha256(data[:held]).hexdigest()
    assert summary.lost_bytes == len(data) - held
