"""Attempt folders on a real disk, and the ways in which a job might try to leave its own."""

import os
import shutil
import socket
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from shared.ids import AttemptId
from shared.protocol.gateway import ArtifactEntry
from shared.runtime import SystemRuntime
from worker.ports import CannotCollect, CannotStart, WorkerAtFault
from worker.workspace import DiskFiles, DiskWorkspace


@pytest.fixture
def workspace(tmp_path: Path) -> DiskWorkspace:
    workspace = DiskWorkspace(tmp_path / "root", None, SystemRuntime())
    workspace.clear()
    return workspace


@pytest.fixture
async def files(workspace: DiskWorkspace) -> DiskFiles:
    return await workspace.open(AttemptId("a1"), None)


def write(files: DiskFiles, *paths: str) -> None:
    for path in paths:
        file = files.cwd / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(path)


async def found(files: DiskFiles, *globs: str) -> list[str]:
    return [entry.path for entry in await files.find_artifacts(globs)]


def an_entry(path: str) -> ArtifactEntry:
    """Also with a path that no service would accept."""
    return ArtifactEntry.model_construct(path=path, size_bytes=1, sha256="0" * 64)


async def body(*pieces: bytes) -> AsyncIterator[bytes]:
    for piece in pieces:
        yield piece


# -- the log ---------------------------------------------------------------------------------------


def make_a_folder(path: Path) -> None:
    path.mkdir()
    (path / "full").touch()


def make_a_link(path: Path) -> None:
    target = path.parent.parent / "precious"
    target.write_text("precious")
    path.symlink_to(target)


@pytest.mark.parametrize("make", [make_a_folder, os.mkfifo, make_a_link])
async def test_what_a_job_puts_in_the_place_of_its_log_is_no_log(
    workspace: DiskWorkspace, files: DiskFiles, make: Callable[[Path], None]
) -> None:
    make(files.log)

    assert await files.log_size() == 0
    assert await files.read_log(0, 100) == b""
    with pytest.raises(CannotStart, match="cannot open the log"):
        await files.append_log("a line")

    await files.remove()
    workspace.clear()
    assert list(files.log.parent.iterdir()) == []


# -- directories -----------------------------------------------------------------------------------


async def test_each_attempt_has_a_fresh_directory_that_goes_with_it(
    workspace: DiskWorkspace,
) -> None:
    one = await workspace.open(AttemptId("a1"), None)
    two = await workspace.open(AttemptId("a2"), "src/deep")
    assert one.cwd != two.cwd
    assert (two.cwd.name, two.cwd.is_dir()) == ("deep", True)

    await one.remove()
    await one.remove()

    assert not one.cwd.exists()


async def test_an_absolute_directory_is_used_as_it_is_and_never_removed(
    workspace: DiskWorkspace, tmp_path: Path
) -> None:
    mine = tmp_path / "mine"
    mine.mkdir()

    files = await workspace.open(AttemptId("a1"), str(mine))
    await files.remove()

    assert files.cwd == mine
    assert mine.is_dir()


async def test_a_relative_directory_is_below_the_callers(tmp_path: Path) -> None:
    (tmp_path / "src").mkdir()
    workspace = DiskWorkspace(tmp_path / "root", tmp_path, SystemRuntime())

    assert (await workspace.open(AttemptId("a1"), "src")).cwd == tmp_path / "src"
    assert (await workspace.open(AttemptId("a2"), None)).cwd == tmp_path


@pytest.mark.parametrize("where", ["/no/such/folder", "../up", "a/../../b", "a\0b"])
async def test_a_directory_that_cannot_be_is_refused(workspace: DiskWorkspace, where: str) -> None:
    with pytest.raises(CannotStart):
        await workspace.open(AttemptId("a1"), where)


@pytest.mark.parametrize("name", ["../x", ".", "", "a/b", "x" * 101])
async def test_an_attempt_id_that_is_no_name_is_refused(
    workspace: DiskWorkspace, name: str
) -> None:
    with pytest.raises(CannotStart):
        await workspace.open(AttemptId(name), None)


async def test_leftovers_are_gone_after_the_start(workspace: DiskWorkspace) -> None:
    files = await workspace.open(AttemptId("a1"), None)
    files.log.write_text("old")

    workspace.clear()

    assert not files.log.exists()
    assert not files.cwd.exists()


async def test_a_job_that_removed_the_folder_of_all_attempts_spoils_no_other(
    workspace: DiskWorkspace, tmp_path: Path
) -> None:
    files = await workspace.open(AttemptId("a1"), None)
    shutil.rmtree(files.log.parent)

    later = await workspace.open(AttemptId("a2"), None)

    assert later.cwd.is_dir()
    shutil.rmtree(files.log.parent.parent)
    with pytest.raises(WorkerAtFault, match="is gone"):
        await workspace.open(AttemptId("a3"), None)


async def test_a_log_that_a_job_made_a_pipe_keeps_nothing_from_being_synced(
    files: DiskFiles,
) -> None:
    os.mkfifo(files.log)

    await files.sync([])


async def test_a_log_is_read_in_pieces(files: DiskFiles) -> None:
    assert await files.log_size() == 0
    assert await files.read_log(0, 10) == b""

    files.log.write_bytes(b"abcdef")

    assert await files.log_size() == 6
    assert await files.read_log(2, 3) == b"cde"


# -- artifacts -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("glob", "paths"),
    [
        ("dist/*", ["dist/a.whl", "dist/b.txt"]),
        ("dist/*.whl", ["dist/a.whl"]),
        ("dist/a.whl", ["dist/a.whl"]),
        ("./dist//a.whl", ["dist/a.whl"]),
        ("**/*.txt", ["dist/b.txt", "dist/deep/er/c.txt", "top.txt"]),
        ("dist/**", ["dist/a.whl", "dist/b.txt", "dist/deep/er/c.txt"]),
        ("**/**/c.txt", ["dist/deep/er/c.txt"]),
        ("dist/[ab].*", ["dist/a.whl", "dist/b.txt"]),
        (".hidden", [".hidden"]),
        ("*", ["top.txt"]),
    ],
)
async def test_globs_find_regular_files_in_order(
    files: DiskFiles, glob: str, paths: list[str]
) -> None:
    write(files, "top.txt", "dist/b.txt", "dist/a.whl", "dist/deep/er/c.txt", ".hidden")

    assert await found(files, glob) == paths


async def test_a_file_that_two_globs_match_is_one_artifact(files: DiskFiles) -> None:
    write(files, "b", "a")

    entries = await files.find_artifacts(["*", "a"])

    assert [(e.path, e.size_bytes) for e in entries] == [("a", 1), ("b", 1)]
    assert entries[0].sha256.startswith("ca978112ca1bbdca")  # sha256("a")


@pytest.mark.parametrize(
    "glob", ["../x", "/etc/passwd", "a/../../x", "", "a\nb", "a\0b", "x" * 1_025, "..", "."]
)
async def test_a_glob_that_leads_out_is_an_error(files: DiskFiles, glob: str) -> None:
    with pytest.raises(CannotCollect):
        await files.find_artifacts([glob])


async def test_a_glob_without_a_match_is_an_error_that_names_it(files: DiskFiles) -> None:
    write(files, "a")

    with pytest.raises(CannotCollect, match=r"nothing\*"):
        await files.find_artifacts(["a", "nothing*"])


async def test_no_symlink_leads_out(files: DiskFiles, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.mkdir()
    (secret / "key").write_text("secret")
    (files.cwd / "link").symlink_to(secret / "key")
    (files.cwd / "folder").symlink_to(secret)

    for glob in ("link", "folder/key", "**/key", "*"):
        with pytest.raises(CannotCollect):
            await files.find_artifacts([glob])
    with pytest.raises(CannotCollect):
        [piece async for piece in files.read_artifact("folder/key")]
    with pytest.raises(CannotCollect):
        await files.place_input(an_entry("folder/key"), body(b"overwritten"))
    assert (secret / "key").read_text() == "secret"


async def test_pipes_and_sockets_are_no_artifacts_and_hang_nobody(files: DiskFiles) -> None:
    os.mkfifo(files.cwd / "pipe")
    folder = os.open(files.cwd, os.O_RDONLY)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(f"/proc/self/fd/{folder}/sock")  # shorter than the 108 bytes of a name

    with pytest.raises(CannotCollect, match="no regular file"):
        await files.find_artifacts(["*"])
    os.close(folder)


@pytest.mark.parametrize("name", [b"new\nline", b"not-utf8-\xff", b"back\\slash"])
async def test_a_file_whose_name_cannot_travel_is_an_error(files: DiskFiles, name: bytes) -> None:
    (files.cwd / os.fsdecode(name)).write_text("x")

    with pytest.raises(CannotCollect, match="character"):
        await files.find_artifacts(["*"])


async def test_a_tree_without_end_is_an_error(files: DiskFiles) -> None:
    here = os.open(files.cwd, os.O_RDONLY)
    for _ in range(700):
        os.mkdir("d", dir_fd=here)
        inner = os.open("d", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = inner
    os.close(here)

    with pytest.raises(CannotCollect):
        await files.find_artifacts(["**/x"])


async def test_an_artifact_is_read_in_pieces(files: DiskFiles) -> None:
    data = os.urandom(200_000)
    (files.cwd / "big").write_bytes(data)

    pieces = [piece async for piece in files.read_artifact("big")]

    assert b"".join(pieces) == data
    assert max(len(piece) for piece in pieces) <= 65_536


# -- inputs ----------------------------------------------------------------------------------------


async def test_an_input_is_placed_whole_with_its_folders(files: DiskFiles) -> None:
    await files.place_input(an_entry("dist/deep/a"), body(b"one", b"two"))

    assert (files.cwd / "dist/deep/a").read_bytes() == b"onetwo"
    assert os.listdir(files.cwd / "dist/deep") == ["a"]


async def test_an_input_that_breaks_off_leaves_nothing(files: DiskFiles) -> None:
    async def broken() -> AsyncIterator[bytes]:
        yield b"half"
        raise ConnectionError("gone")

    with pytest.raises(ConnectionError):
        await files.place_input(an_entry("dist/a"), broken())

    assert os.listdir(files.cwd / "dist") == []


@pytest.mark.parametrize("path", ["../x", "/tmp/x", "a/../../x", "a\nb"])
async def test_an_input_cannot_leave_its_directory(files: DiskFiles, path: str) -> None:
    with pytest.raises(CannotCollect):
        await files.place_input(an_entry(path), body(b"x"))


async def test_an_input_replaces_a_symlink_and_not_what_it_points_to(
    files: DiskFiles, tmp_path: Path
) -> None:
    (tmp_path / "precious").write_text("precious")
    (files.cwd / "a").symlink_to(tmp_path / "precious")

    await files.place_input(an_entry("a"), body(b"x"))

    assert (tmp_path / "precious").read_text() == "precious"
    assert (files.cwd / "a").read_text() == "x"
