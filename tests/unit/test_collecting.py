"""What a job may leave in the place of an artifact, and what is said about it."""

import os
from pathlib import Path

import pytest

from worker.artifacts.collecting import collect
from worker.ports import ArtifactLimits, CannotCollect

SMALL = ArtifactLimits(each_bytes=1_000, total_bytes=1_500)
TERABYTE = 1 << 40


def paths(root: Path, *globs: str) -> list[str]:
    return [entry.path for entry in collect(str(root), globs, SMALL)]


@pytest.mark.parametrize("glob", ["dist", "dist/", "./dist"])
def test_a_folder_that_is_named_is_kept_with_all_that_is_in_it(tmp_path: Path, glob: str) -> None:
    (tmp_path / "dist/deep/.hidden").mkdir(parents=True)
    for name in ("a", "deep/b", "deep/.hidden/c", ".d"):
        (tmp_path / "dist" / name).write_text(name)
    (tmp_path / "dist/link").symlink_to("/etc/passwd")
    os.mkfifo(tmp_path / "dist/pipe")

    assert paths(tmp_path, glob) == ["dist/.d", "dist/a", "dist/deep/.hidden/c", "dist/deep/b"]


def test_a_terabyte_without_content_is_turned_down_at_once(tmp_path: Path) -> None:
    with (tmp_path / "big").open("wb") as file:
        file.truncate(TERABYTE)

    with pytest.raises(
        CannotCollect, match="'big' has 1,099,511,627,776 bytes, an artifact may have 1,000"
    ):
        collect(str(tmp_path), ["big"], SMALL)


def test_many_small_ones_are_too_much_together(tmp_path: Path) -> None:
    for n in range(3):
        (tmp_path / f"f{n}").write_bytes(b"x" * 600)

    with pytest.raises(CannotCollect, match="more than 1,500 bytes together"):
        collect(str(tmp_path), ["f*"], SMALL)


def test_what_stands_in_an_artifacts_place_is_named(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("/etc/passwd")
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "empty").mkdir()

    for name, kind in {
        "link": "it is a symbolic link",
        "pipe": "it is a pipe",
        "empty": "it is an empty folder",
        "nothing": "no regular file matches$",
    }.items():
        with pytest.raises(CannotCollect, match=kind):
            collect(str(tmp_path), [name], SMALL)


def test_a_name_of_four_thousand_characters_is_turned_down(tmp_path: Path) -> None:
    with pytest.raises(CannotCollect, match="1 to 1024 characters, this one 4000"):
        collect(str(tmp_path), ["x" * 4_000], SMALL)


def test_a_newline_in_a_name_is_turned_down_and_shown_as_such(tmp_path: Path) -> None:
    (tmp_path / "new\nline").write_text("x")

    with pytest.raises(CannotCollect, match=r"'new\\nline' has a character"):
        collect(str(tmp_path), ["new*"], SMALL)


def test_a_file_that_the_kernel_does_not_read_is_named() -> None:
    """It is a regular file, of no size, and each read of it is an error."""
    with pytest.raises(CannotCollect, match="'mem': Input/output error"):
        collect("/proc/self", ["mem"], SMALL)
