"""The key under which a cache is looked for, made of files that a job names."""

from pathlib import Path

import pytest

from shared.protocol.pipeline import CacheSpec
from shared.runtime import SystemRuntime
from worker.artifacts.caches import Caches
from worker.artifacts.store import Store
from worker.ports import CannotCollect


def caches(root: Path) -> Caches:
    runtime = SystemRuntime()
    return Caches(root / "caches", Store(root / "store", runtime), runtime)


async def test_a_file_that_is_not_there_counts_as_an_empty_one(tmp_path: Path) -> None:
    spec = CacheSpec(key="pip", files=("lock",), paths=(".venv",))
    absent = await caches(tmp_path).key_of(spec, str(tmp_path))
    (tmp_path / "lock").write_text("")
    empty = await caches(tmp_path).key_of(spec, str(tmp_path))
    (tmp_path / "lock").write_text("x")

    assert absent == empty
    assert await caches(tmp_path).key_of(spec, str(tmp_path)) != empty


async def test_a_file_that_cannot_be_read_gives_no_key(tmp_path: Path) -> None:
    """What can be read of it might be the whole of another's."""
    spec = CacheSpec(key="pip", files=("mem",), paths=(".venv",))

    with pytest.raises(CannotCollect, match="'mem': Input/output error"):
        await caches(tmp_path).key_of(spec, "/proc/self")
