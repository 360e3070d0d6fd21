"""What a job left behind is used again only if it is as good as new, and nobody else's."""

import asyncio
import os
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from shared.ids import AttemptId
from shared.runtime import SystemRuntime
from worker.spares import KEPT, Spares
from worker.workspace import DiskWorkspace


@pytest.fixture
def spares(tmp_path: Path) -> Spares:
    return Spares(tmp_path)


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """As a runner makes it, with what a job wrote."""
    path = tmp_path / "a1.log"
    fd = os.open(path, os.O_WRONLY | os.O_CREAT, 0o600)
    os.write(fd, b"what the last one said")
    os.close(fd)
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "a1"
    path.mkdir(mode=0o700)
    return path


def test_a_log_is_used_again_and_is_empty(spares: Spares, log: Path, tmp_path: Path) -> None:
    inode = log.stat().st_ino
    again = tmp_path / "a2.log"

    assert spares.keep_log(log)
    assert not log.exists()
    spares.take_log(again)

    assert (again.stat().st_ino, again.read_bytes()) == (inode, b"")


def test_a_folder_is_used_again(spares: Spares, folder: Path, tmp_path: Path) -> None:
    inode = folder.stat().st_ino
    again = tmp_path / "a2"

    assert spares.keep_folder(folder)
    assert not folder.exists()
    spares.take_folder(again)

    assert again.stat().st_ino == inode


@pytest.mark.parametrize("redirection", ["<", ">>", "<>"])
def test_a_log_that_a_process_holds_open_is_not_kept(
    spares: Spares, log: Path, redirection: str
) -> None:
    script = f"exec 3{redirection}{log}; echo held; read line"
    with subprocess.Popen(
        ["sh", "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"

        assert not spares.keep_log(log)
        assert log.read_bytes() == b"what the last one said"
        holder.communicate(b"\n")

    assert spares.keep_log(log)


def chmod(path: Path) -> None:
    path.chmod(0o755)


def link(path: Path) -> None:
    os.link(path, path.with_suffix(".mine"))


def swap_for_link(path: Path) -> None:
    target = path.rename(path.with_suffix(".real"))
    path.symlink_to(target)


def swap_for_other(path: Path) -> None:
    if path.is_dir():
        path.rmdir()
        path.touch(mode=0o700)
    else:
        path.unlink()
        path.mkdir(mode=0o600)


def remove(path: Path) -> None:
    path.rmdir() if path.is_dir() else path.unlink()


@pytest.mark.parametrize("change", [chmod, link, swap_for_link, swap_for_other, remove])
def test_a_log_that_is_not_as_it_was_made_is_not_kept(
    spares: Spares, log: Path, change: Callable[[Path], None]
) -> None:
    change(log)

    assert not spares.keep_log(log)
    if log.is_file():
        assert log.read_bytes() == b"what the last one said"


@pytest.mark.parametrize("change", [chmod, swap_for_link, swap_for_other, remove])
def test_a_folder_that_is_not_as_it_was_made_is_not_kept(
    spares: Spares, folder: Path, change: Callable[[Path], None]
) -> None:
    change(folder)

    assert not spares.keep_folder(folder)


def test_a_folder_in_which_something_is_left_is_not_kept(spares: Spares, folder: Path) -> None:
    (folder / ".hidden").touch()

    assert not spares.keep_folder(folder)
    assert (folder / ".hidden").exists()


def test_who_opens_a_log_as_it_is_kept_ends_no_worker(
    spares: Spares, log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[int] = []
    before = signal.signal(signal.SIGIO, lambda number, _: told.append(number))
    truncate = os.ftruncate

    def truncate_as_others_look(fd: int, size: int) -> None:
        with pytest.raises(BlockingIOError):  # it breaks the lease
            os.open(log, os.O_RDONLY | os.O_NONBLOCK)
        truncate(fd, size)

    monkeypatch.setattr(os, "ftruncate", truncate_as_others_look)
    try:
        assert spares.keep_log(log)
    finally:
        signal.signal(signal.SIGIO, before)

    assert told == []  # by default that signal would have been the end


def test_no_more_are_kept_than_are_of_use(spares: Spares, tmp_path: Path) -> None:
    logs = [tmp_path / f"{n}.log" for n in range(KEPT + 1)]
    for path in logs:
        path.touch(mode=0o600)

    assert [spares.keep_log(path) for path in logs] == [True] * KEPT + [False]


def test_spares_that_somebody_removed_are_not_missed(
    spares: Spares, log: Path, folder: Path, tmp_path: Path
) -> None:
    spares.keep_log(log)
    spares.keep_folder(folder)
    for spare in tmp_path.glob("*.spare"):
        remove(spare)

    spares.take_log(log)
    spares.take_folder(folder)

    assert not log.exists()
    assert folder.is_dir()


def test_a_cleared_workspace_has_no_spares(tmp_path: Path, log: Path, folder: Path) -> None:
    workspace = DiskWorkspace(tmp_path, None, SystemRuntime())
    workspace._spares.keep_log(log)
    workspace._spares.keep_folder(folder)

    workspace.clear()
    assert list(tmp_path.iterdir()) == []
    files = asyncio.run(workspace.open(AttemptId("a2"), None))

    assert (files.log.exists(), files.cwd.is_dir()) == (False, True)


def test_a_process_that_outlived_its_job_shares_nothing_with_the_next(tmp_path: Path) -> None:
    workspace = DiskWorkspace(tmp_path / "root", None, SystemRuntime())
    workspace.clear()
    one = asyncio.run(workspace.open(AttemptId("a1"), None))
    one.log.touch(mode=0o600)
    with (
        open(one.log, "wb") as output,
        subprocess.Popen(
            ["sh", "-c", "echo held >&2; read go; echo late; touch late"],
            cwd=one.cwd,
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=subprocess.PIPE,
        ) as outliving,
    ):
        output.close()
        assert outliving.stderr is not None
        assert outliving.stderr.readline() == b"held\n"
        asyncio.run(one.remove())
        two = asyncio.run(workspace.open(AttemptId("a2"), None))
        outliving.communicate(b"go\n")

    assert not two.log.exists()
    assert list(two.cwd.iterdir()) == []
