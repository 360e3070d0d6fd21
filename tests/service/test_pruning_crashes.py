"""A job service that ends while it prunes: its next start finds the rest."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from shared.errors import ServiceError
from shared.faultpoints import Facts, injector
from shared.files import DiskFiles
from shared.ids import RunId
from shared.protocol.jobs import RetryRequest
from tests.support.jobstore import Hands, a_job, hands_on
from tests.support.pruning import LONG, an_old_run, do, log_of, output_of, prune, rows, stored
from tests.support.runtime import ManualRuntime


class Crash(BaseException):
    """The process ends here."""


class CrashingFiles(DiskFiles):
    """The process ends when it removes its `nth` file, before or after it is gone."""

    def __init__(self, root: Path, runtime: ManualRuntime, nth: int, *, is_removed: bool) -> None:
        super().__init__(root, runtime)
        self._left = nth
        self._is_removed = is_removed

    async def remove(self, path: str) -> None:
        self._left -= 1
        if self._left == 0 and not self._is_removed:
            raise Crash
        await super().remove(path)
        if self._left == 0:
            raise Crash


@contextmanager
def failing_at_commit(nth: int, moment: str) -> Iterator[list[int]]:
    """The job service's store fails at its `nth` commit from when the list is not empty."""
    armed: list[int] = []

    async def fail(name: str, _: Facts) -> None:
        if armed and name == f"jobstore.store.{moment}_commit":
            armed[0] += 1
            if armed[0] == nth:
                raise Crash

    token = injector.set(fail)
    try:
        yield armed
    finally:
        injector.reset(token)


async def two_old_runs_and_one_that_inherits(hands: Hands) -> RunId:
    old = await hands.submit(a_job("a"), a_job("b"), stages=[])
    await do(hands, b"carried")
    await do(hands, b"broken", exit_code=1)
    await an_old_run(hands, b"alone")
    retried = RetryRequest(idempotency_key="again", run_id=old, failed_only=True)
    later = (await hands.service.retry(retried)).run_id
    await do(hands, b"mended")
    return later


async def check_after_crash(folder: Path, runtime: ManualRuntime, later: RunId) -> None:
    """The next start finds the rest, and what stays is whole."""
    async with hands_on(folder, runtime) as hands:
        await prune(hands)
        left = await hands.service.list_artifacts(later, None)
        assert [item.artifact.size_bytes for item in left.artifacts] == [7, 6]
        assert await output_of(hands, later) == b"carried"
        assert await output_of(hands, later, "b") == b"mended"
        assert await log_of(hands, later) == LONG
        assert await log_of(hands, later, "b") == LONG
    assert len(stored(folder)) == 4
    found = rows(folder)
    assert found.pop("event") > 0
    assert found == {"run": 1, "job": 2, "attempt": 2, "artifact": 2}


@pytest.mark.parametrize("is_removed", [False, True])
@pytest.mark.parametrize("nth", range(1, 5))
async def test_a_crash_while_files_are_removed_is_made_good(
    tmp_path: Path, nth: int, is_removed: bool
) -> None:
    runtime = ManualRuntime()
    async with hands_on(tmp_path, runtime) as hands:
        later = await two_old_runs_and_one_that_inherits(hands)
        crashing = CrashingFiles(tmp_path / "files", runtime, nth, is_removed=is_removed)
        hands.service._history._files = crashing
        hands.service._artifacts._files = crashing
        with pytest.raises(Crash):
            await prune(hands)

    await check_after_crash(tmp_path, runtime, later)


@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("nth", range(1, 7))
async def test_a_crash_at_any_commit_is_made_good(tmp_path: Path, nth: int, moment: str) -> None:
    runtime = ManualRuntime()
    with failing_at_commit(nth, moment) as armed:
        async with hands_on(tmp_path, runtime) as hands:
            later = await two_old_runs_and_one_that_inherits(hands)
            armed.append(0)
            with pytest.raises(ServiceError):
                await prune(hands)
            armed.clear()

    await check_after_crash(tmp_path, runtime, later)


async def test_what_uploads_left_behind_is_gone_at_the_next_start(tmp_path: Path) -> None:
    leftover = tmp_path / "files" / "incoming" / "019b0000-half"
    leftover.parent.mkdir(parents=True)
    leftover.write_bytes(b"half of an artif")

    async with hands_on(tmp_path):
        assert not leftover.exists()
