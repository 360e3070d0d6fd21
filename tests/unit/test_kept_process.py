"""A process below a keeper, and what the keeper says of it: early, late, or to another worker."""

import asyncio

import pytest

from shared.ids import AttemptId
from worker.launcher.client import Keeper
from worker.launcher.link import Heard
from worker.runners import kept_process
from worker.runners.kept_process import KeptProcess


class StoppedKeeper(Keeper):
    """Says what a test says. It is its own link."""

    def __init__(self) -> None:
        self.link = self  # type: ignore[assignment]  # of which only these two verbs are used
        self.is_slain = False
        self.is_back = False

    def listen(self, heard: Heard) -> None:
        self.heard = heard

    def say(self, *parts: bytes) -> bool:
        return True

    def give_back(self, recalls: AttemptId | None = None) -> None:
        self.is_back = True

    def is_stopped(self) -> bool:
        return True

    def slay(self) -> None:
        self.is_slain = True


@pytest.fixture
def keeper(monkeypatch: pytest.MonkeyPatch) -> StoppedKeeper:
    monkeypatch.setattr(kept_process, "PATIENCE_S", -1.0)  # it ends in the loop's next turn
    monkeypatch.setattr(kept_process, "ANSWER_S", -1.0)
    return StoppedKeeper()


async def test_its_start_may_be_told_as_patience_ends(keeper: StoppedKeeper) -> None:
    process = KeptProcess(keeper, None)
    # Both come in one turn of the loop: the word first, as after a turn that took too long.
    asyncio.get_running_loop().call_soon(keeper.heard, [b"started", b"7"], [])

    await process.started()

    assert (process.pid, keeper.is_slain) == (7, True)


async def test_its_start_may_be_told_after_patience_has_ended(keeper: StoppedKeeper) -> None:
    process = KeptProcess(keeper, None)
    await process.started()

    keeper.heard([b"started", b"7"], [])

    assert (process.pid, keeper.is_slain) == (7, True)


async def test_a_keeper_found_with_a_job_of_no_attempt_is_given_back(keeper: StoppedKeeper) -> None:
    process = KeptProcess(keeper, None)
    keeper.heard([b"kept", b"", b"7"], [])
    keeper.heard([b"ended", b"-9", b"0", b"0", b"0", b"", b""], [])

    await process.reap()

    assert keeper.is_back
