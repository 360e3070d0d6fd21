"""What a worker keeps of inputs and caches, and what it does when that is gone or damaged."""

import os
from collections.abc import AsyncIterator
from hashlib import sha256
from pathlib import Path

import pytest

from shared.protocol.gateway import ArtifactEntry
from shared.protocol.pipeline import CacheSpec
from shared.runtime import SystemRuntime
from worker.artifacts.caches import Caches
from worker.artifacts.store import Store
from worker.ports import CannotCollect

CACHE = CacheSpec(key="deps", files=("lock",), paths=("lib", "*.txt"), restore_keys=("deps-",))


async def body(data: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(data), 65_536):
        yield data[start : start + 65_536]


def an_entry(data: bytes) -> ArtifactEntry:
    return ArtifactEntry(path="a", size_bytes=len(data), sha256=sha256(data).hexdigest())


async def keep(store: Store, data: bytes) -> str:
    assert b"".join([p async for p in store.keeping(an_entry(data), body(data))]) == data
    return an_entry(data).sha256


async def read(store: Store, sha: str) -> bytes:
    return b"".join([piece async for piece in store.read(sha)])


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = Store(tmp_path / "store", SystemRuntime(), 3_000_000)
    store.open()
    return store


async def test_what_passed_by_is_kept_also_for_the_next_incarnation(
    store: Store, tmp_path: Path
) -> None:
    data = os.urandom(200_000)
    sha = await keep(store, data)
    (tmp_path / "store" / "9.part").write_text("of a worker that was killed")

    again = Store(tmp_path / "store", SystemRuntime(), 3_000_000)
    again.open()

    assert await read(again, sha) == data
    assert os.listdir(tmp_path / "store") == [sha]


async def test_what_was_used_longest_ago_goes_first(store: Store) -> None:
    old, used = await keep(store, b"a" * 1_000_000), await keep(store, b"b" * 1_000_000)
    await keep(store, b"c" * 900_000)
    await read(store, old)

    await keep(store, b"d" * 1_000_000)

    assert store.has(old)
    assert not store.has(used)


async def test_what_is_larger_than_all_room_is_passed_on_and_not_kept(store: Store) -> None:
    sha = await keep(store, b"x" * 3_000_001)

    assert not store.has(sha)


async def test_a_file_that_was_damaged_is_found_out_and_forgotten(
    store: Store, tmp_path: Path
) -> None:
    sha = await keep(store, b"right")
    (tmp_path / "store" / sha).write_text("wrong")

    with pytest.raises(CannotCollect, match="damaged"):
        await read(store, sha)

    assert not store.has(sha)


async def test_bytes_that_broke_off_are_not_kept(store: Store, tmp_path: Path) -> None:
    async def broken() -> AsyncIterator[bytes]:
        yield b"half"
        raise ConnectionResetError

    with pytest.raises(ConnectionResetError):
        [piece async for piece in store.keeping(an_entry(b"half and half"), broken())]

    assert os.listdir(tmp_path / "store") == []


# -- caches ----------------------------------------------------------------------------------------


@pytest.fixture
def caches(store: Store, tmp_path: Path) -> Caches:
    return Caches(tmp_path / "caches", store, SystemRuntime())


def a_folder(tmp_path: Path, name: str, lock: str) -> Path:
    folder = tmp_path / name
    folder.mkdir()
    (folder / "lock").write_text(lock)
    return folder


async def save(caches: Caches, cwd: Path, pipeline: str = "p") -> str:
    lib = cwd / "lib"
    (lib / "deep").mkdir(parents=True)
    (lib / "deep/tool").write_text("#!/bin/sh")
    (lib / "deep/tool").chmod(0o755)
    (lib / "link").symlink_to("deep/tool")
    os.mkfifo(lib / "pipe")
    (cwd / "notes.txt").write_text("n")
    key = await caches.key_of(CACHE, str(cwd))
    assert await caches.save(pipeline, CACHE, key, str(cwd)) == 3
    return key


async def restore(caches: Caches, cwd: Path, pipeline: str = "p") -> str | None:
    key = await caches.key_of(CACHE, str(cwd))
    return await caches.restore(pipeline, CACHE, key, str(cwd), lambda: False)


async def test_a_later_run_finds_files_modes_and_links(caches: Caches, tmp_path: Path) -> None:
    key = await save(caches, a_folder(tmp_path, "one", "v1"))
    two = a_folder(tmp_path, "two", "v1")

    assert await restore(caches, two) == key

    tool = two / "lib/deep/tool"
    assert (tool.read_text(), tool.stat().st_mode & 0o777) == ("#!/bin/sh", 0o755)
    assert os.readlink(two / "lib/link") == "deep/tool"
    assert (two / "notes.txt").read_text() == "n"
    assert sorted(os.listdir(two / "lib")) == ["deep", "link"]


async def test_when_a_file_of_the_key_changes_only_a_beginning_of_it_will_do(
    caches: Caches, tmp_path: Path
) -> None:
    old = await save(caches, a_folder(tmp_path, "one", "v1"))
    two = a_folder(tmp_path, "two", "v2")

    assert await caches.key_of(CACHE, str(two)) != old
    assert await restore(caches, two) == old
    strict = CACHE.model_copy(update={"restore_keys": ()})
    key = await caches.key_of(strict, str(two))
    assert await caches.restore("p", strict, key, str(two), lambda: False) is None


async def test_another_pipeline_never_sees_it(caches: Caches, tmp_path: Path) -> None:
    await save(caches, a_folder(tmp_path, "one", "v1"))

    assert await restore(caches, a_folder(tmp_path, "two", "v1"), "q") is None
    assert await restore(caches, a_folder(tmp_path, "three", "v1"), "p/../p") is None


async def test_a_cache_of_which_a_file_is_gone_is_none(
    caches: Caches, store: Store, tmp_path: Path
) -> None:
    await save(caches, a_folder(tmp_path, "one", "v1"))
    await keep(store, b"x" * 2_999_999)  # which drives out what was there

    assert await restore(caches, a_folder(tmp_path, "two", "v1")) is None


async def test_nothing_is_restored_through_a_link_that_leads_out(
    caches: Caches, tmp_path: Path
) -> None:
    await save(caches, a_folder(tmp_path, "one", "v1"))
    two = a_folder(tmp_path, "two", "v1")
    (tmp_path / "precious").mkdir()
    (two / "lib").symlink_to(tmp_path / "precious")

    assert await restore(caches, two) is None
    assert os.listdir(tmp_path / "precious") == []
