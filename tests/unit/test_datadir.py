"""A folder of the data directory, held by one process at a time."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from shared.datadir import held
from shared.errors import Misconfigured

HOLD = "import sys; from pathlib import Path; from shared.datadir import held\n"
HOLD += "with held(Path(sys.argv[1])): print('held', flush=True); sys.stdin.read()"


def test_a_held_folder_exists_and_is_its_owners_alone(tmp_path: Path) -> None:
    with held(tmp_path / "data" / "jobstore") as folder:
        mode = folder.stat().st_mode & 0o777

    assert mode == 0o700


def test_a_folder_that_is_held_is_refused_with_its_holders_pid(tmp_path: Path) -> None:
    with (
        held(tmp_path),
        pytest.raises(Misconfigured, match=f"in use by process {os.getpid()}: stop it"),
        held(tmp_path),
    ):
        pass


def test_a_folder_can_be_held_again_once_it_was_left(tmp_path: Path) -> None:
    for _ in range(2):
        with held(tmp_path):
            pass


def test_folders_beside_each_other_do_not_hinder_each_other(tmp_path: Path) -> None:
    with held(tmp_path / "jobstore"), held(tmp_path / "registry"):
        pass


@pytest.mark.slow
def test_a_holder_that_was_killed_leaves_nothing_behind(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(Misconfigured, match=f"process {holder.pid}"), held(tmp_path):
            pass

        holder.kill()
        holder.wait()

    with held(tmp_path):
        pass


@pytest.mark.parametrize("what", ["file", "below a file"])
def test_a_folder_that_cannot_be_made_is_one_clear_line(tmp_path: Path, what: str) -> None:
    file = tmp_path / "file"
    file.touch()
    folder = file if what == "file" else file / "jobstore"

    with pytest.raises(Misconfigured, match="cannot be used") as raised, held(folder):
        pass

    assert str(folder) in raised.value.message
    assert "DRAWBAR_DATA" in raised.value.message
    assert "\n" not in raised.value.message


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)

    with pytest.raises(Misconfigured, match="permission denied"), held(tmp_path):
        pass
