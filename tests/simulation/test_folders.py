"""A loss of power takes from real folders what was never synced, and nothing else."""

import os
import random
from pathlib import Path

import pytest

from simulation.folders import SyncedFolder


def write(path: Path, data: bytes, folder: SyncedFolder, *, synced: bool) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.write(fd, data)
    if synced:
        folder.sync(fd)
    os.close(fd)


def sync_names(path: Path, folder: SyncedFolder) -> None:
    fd = os.open(path, os.O_RDONLY)
    folder.sync(fd)
    os.close(fd)


@pytest.mark.parametrize("seed", range(20))
def test_what_was_synced_with_its_name_survives(tmp_path: Path, seed: int) -> None:
    folder = SyncedFolder(tmp_path, random.Random(seed))
    write(tmp_path / "kept", b"synced", folder, synced=True)
    sync_names(tmp_path, folder)
    write(tmp_path / "kept", b" and not", folder, synced=False)

    folder.lose_power()

    assert (tmp_path / "kept").read_bytes().startswith(b"synced")


def test_a_file_whose_name_was_not_synced_may_be_gone_or_torn(tmp_path: Path) -> None:
    ends = set()
    for seed in range(40):
        folder = SyncedFolder(tmp_path / str(seed), random.Random(seed))
        write(folder.root / "new", b"abcdef", folder, synced=False)

        folder.lose_power()

        path = folder.root / "new"
        ends.add(path.read_bytes().rstrip(b"\0") if path.exists() else None)

    assert None in ends
    assert b"abcdef" in ends
    assert any(end is not None and end != b"abcdef" for end in ends)


def test_what_was_removed_and_never_synced_may_be_back(tmp_path: Path) -> None:
    is_back = set()
    for seed in range(20):
        folder = SyncedFolder(tmp_path / str(seed), random.Random(seed))
        write(folder.root / "old", b"abc", folder, synced=True)
        sync_names(folder.root, folder)
        (folder.root / "old").unlink()

        folder.lose_power()

        is_back.add((folder.root / "old").exists())

    assert True in is_back
