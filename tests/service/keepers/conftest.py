"""A launcher with its keepers, and the next worker of the same folder."""

import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from shared.ids import AttemptId
from tests.support.kept import A1, MakeLaunch
from worker.ports import Launch
from worker.runners.kept import KeptRunner


@pytest.fixture
def launch(tmp_path: Path) -> MakeLaunch:
    def make(
        *argv: str, attempt_id: AttemptId | None = None, until: float = float("inf")
    ) -> Launch:
        return Launch(
            argv=argv,
            env={"PATH": os.environ["PATH"], "DRAWBAR_ATTEMPT_ID": attempt_id or "none"},
            cwd=tmp_path,
            log=tmp_path / "log",
            attempt_id=attempt_id,
            until=until,
        )

    return make


@pytest.fixture
async def runner(tmp_path: Path) -> AsyncIterator[KeptRunner]:
    runner = KeptRunner(tmp_path / "launcher")
    yield runner
    runner.close()


@pytest.fixture
async def heir(tmp_path: Path) -> AsyncIterator[KeptRunner]:
    """The runner of the next worker on the same folder."""
    runner = KeptRunner(tmp_path / "launcher", [A1])
    yield runner
    process = await runner.attach(A1)
    if process is not None:
        await process.reap()
        process.release()
    runner.close()
