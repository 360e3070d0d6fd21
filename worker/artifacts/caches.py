"""Caches: what a job asked to find again in a later run of the same pipeline, on this worker.

A cache is a list of paths, each with the hash of its content, which is in the store. Lists are
kept by pipeline: no key leads from one to another's. Once kept, a key's list never changes.
"""

import hashlib
import json
import os
import stat
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from contextlib import suppress
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Final, NamedTuple

import structlog

from shared.protocol.pipeline import CacheSpec
from shared.runtime import Runtime
from worker.artifacts.store import Store
from worker.ports import CannotCollect
from worker.tree import MAX_PATH, Folder, create_file, open_file, publish_file, split_path

MOST_LISTS: Final = 1_000  # of all pipelines
MOST_FILES: Final = 200_000  # of one cache
BLOCK_BYTES: Final = 1 << 20

log = structlog.get_logger()


class Item(NamedTuple):
    """A file, or a symbolic link, which has no hash."""

    path: str
    mode: int
    sha256: str
    target: str


class Caches:
    """Lists below `root`, which is this worker's alone; their files are in `store`."""

    def __init__(self, root: Path, store: Store, runtime: Runtime) -> None:
        self._root = root
        self._store = store
        self._runtime = runtime

    async def key_of(self, spec: CacheSpec, cwd: str) -> str:
        """The key, with the content of the files that it depends on."""
        if not spec.files:
            return spec.key
        digest = hashlib.sha256()
        for name in spec.files:
            digest.update(f"{name}\0".encode("utf-8", "surrogatepass"))
            digest.update(await self._runtime.offload(_hash_of, cwd, name))
        return f"{spec.key}-{digest.hexdigest()[:16]}"

    async def restore(
        self, pipeline: str, spec: CacheSpec, key: str, cwd: str, is_stopped: Callable[[], bool]
    ) -> str | None:
        """The key of the cache whose files are now in `cwd`; None: there is none."""
        for path in await self._runtime.offload(self._candidates, pipeline, key, spec):
            found = await self._runtime.offload(_read_list, path)
            if found is None or not all(i.target or self._store.has(i.sha256) for i in found[1]):
                with suppress(OSError):
                    os.unlink(path)
                continue
            try:
                for item in found[1]:
                    if is_stopped():
                        return None
                    await self._place(item, cwd)
            except CannotCollect as error:
                log.warning("cache.unusable", pipeline=pipeline, error=str(error))
                continue
            with suppress(OSError):
                os.utime(path)
            return found[0]
        return None

    async def save(self, pipeline: str, spec: CacheSpec, key: str, cwd: str) -> int | None:
        """How many files are kept under the key; None: that cannot be."""
        items = []
        for path, mode, target in await self._runtime.offload(_listed, cwd, spec.paths):
            sha256 = ""
            if not target:
                kept = await self._store.keep(_content(self._runtime, cwd, path))
                if kept is None:
                    return None
                sha256 = kept[0]
            items.append(Item(path, mode, sha256, target))
        await self._runtime.offload(self._write_list, pipeline, key, items)
        return len(items)

    async def _place(self, item: Item, cwd: str) -> None:
        if item.target:
            await self._runtime.offload(_link, cwd, item.path, item.target)
            return
        temporary = f".{item.sha256[:16]}.part"
        file = await self._runtime.offload(create_file, cwd, item.path, temporary)
        is_whole = False
        try:
            with file:
                async for piece in self._store.read(item.sha256):
                    await self._runtime.offload(file.write, piece)
                os.fchmod(file.fileno(), item.mode)
            is_whole = True
        except OSError as error:
            raise CannotCollect(f"{item.path!r}: {error.strerror}") from error
        finally:
            await self._runtime.offload(publish_file, cwd, item.path, temporary, keep=is_whole)

    # -- lists ---------------------------------------------------------------------------------

    def _folder(self, pipeline: str) -> Path:
        return self._root / _name(pipeline)

    def _candidates(self, pipeline: str, key: str, spec: CacheSpec) -> list[Path]:
        """The key's own list, then the newest of those whose keys begin as one of the others."""
        folder = self._folder(pipeline)
        own = folder / f"{_name(key)}.json"
        found = [own] if own.is_file() else []
        if spec.restore_keys and folder.is_dir():
            newest_first = sorted(folder.glob("*.json"), key=_age, reverse=True)
            keys = {path: kept[0] for path in newest_first if (kept := _read_list(path))}
            for prefix in spec.restore_keys:
                found += [p for p, k in keys.items() if k.startswith(prefix) and p not in found]
        return found

    def _write_list(self, pipeline: str, key: str, items: Sequence[Item]) -> None:
        folder = self._folder(pipeline)
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            path = folder / f"{_name(key)}.json"
            temporary = path.with_suffix(".part")
            temporary.write_text(json.dumps({"key": key, "items": items}))
            os.rename(temporary, path)
        except OSError as error:
            raise CannotCollect(f"the cache cannot be kept: {error.strerror}") from error
        lists = sorted(self._root.glob("*/*.json"), key=_age)
        for old in lists[: max(0, len(lists) - MOST_LISTS)]:
            with suppress(OSError):
                old.unlink()


def _name(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:32]


def _age(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0


def _read_list(path: Path) -> tuple[str, list[Item]] | None:
    try:
        kept = json.loads(path.read_text())
        return str(kept["key"]), [Item(*item) for item in kept["items"]]
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _hash_of(cwd: str, path: str) -> bytes:
    """Of a file's content; of nothing where there is no such file. CannotCollect: it cannot be
    read, and what it begins with would find the cache of another."""
    digest = hashlib.sha256()
    try:
        with suppress(CannotCollect), open_file(cwd, path) as file:
            while block := file.read(BLOCK_BYTES):
                digest.update(block)
    except OSError as error:
        raise CannotCollect(f"{path!r}: {error.strerror}") from error
    return digest.digest()


async def _content(runtime: Runtime, cwd: str, path: str) -> AsyncGenerator[bytes, None]:
    with await runtime.offload(open_file, cwd, path) as file:
        try:
            while block := await runtime.offload(file.read, BLOCK_BYTES):
                yield block
        except OSError as error:
            raise CannotCollect(f"{path!r}: {error.strerror}") from error


def _listed(cwd: str, paths: Sequence[str]) -> list[tuple[str, int, str]]:
    """Path, mode and, of a symbolic link, its target, of all that the paths name."""
    found: dict[str, tuple[str, int, str]] = {}
    try:
        with Folder.at(cwd) as top:
            for path in paths:
                for item in _named(top, split_path(path), ""):
                    found[item[0]] = item
                    if len(found) > MOST_FILES:
                        raise CannotCollect(f"a cache may have {MOST_FILES:,} files")
    except OSError as error:  # somebody else removes what is there, or may not be seen here
        raise CannotCollect(f"the cache cannot be kept: {error.strerror}") from error
    return [found[path] for path in sorted(found)]


def _named(folder: Folder, pattern: Sequence[str], above: str) -> Iterator[tuple[str, int, str]]:
    head, *rest = pattern
    for name in folder.names():
        if name != head and not fnmatchcase(name, head):
            continue
        if not rest:
            yield from _whole(folder, name, above)
        elif (inner := folder.child(name)) is not None:
            with inner:
                yield from _named(inner, rest, f"{above}{name}/")


def _whole(folder: Folder, name: str, above: str) -> Iterator[tuple[str, int, str]]:
    """A file or link, or everything below a folder. What else there may be is passed over."""
    if len(above) > MAX_PATH:
        raise CannotCollect(f"folders are nested too deeply below {above[:80]!r}")
    found = os.stat(name, dir_fd=folder.fd, follow_symlinks=False)
    if stat.S_ISLNK(found.st_mode):
        yield above + name, 0, os.readlink(name, dir_fd=folder.fd)
    elif stat.S_ISREG(found.st_mode):
        yield above + name, stat.S_IMODE(found.st_mode) & 0o777, ""
    elif (inner := folder.child(name)) is not None:
        with inner:
            for below in inner.names():
                yield from _whole(inner, below, f"{above}{name}/")


def _link(cwd: str, path: str, target: str) -> None:
    temporary = ".link.part"
    create_file(cwd, path, temporary).close()  # the folders exist
    *folders, name = split_path(path)
    try:
        with Folder.at(cwd) as here:
            for folder in folders:
                here.enter(folder)
            os.unlink(temporary, dir_fd=here.fd)
            with suppress(FileNotFoundError):
                os.unlink(name, dir_fd=here.fd)
            os.symlink(target, name, dir_fd=here.fd)
    except OSError as error:
        raise CannotCollect(f"{path!r}: {error.strerror}") from error
