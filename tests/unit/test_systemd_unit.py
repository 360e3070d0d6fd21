"""The unit that is shipped: systemd takes it, and it stops the worker without its jobs."""

import configparser
import shutil
import subprocess
from pathlib import Path

import pytest

UNIT = Path(__file__).parents[2] / "packaging" / "systemd" / "drawbar-worker.service"


def service() -> configparser.SectionProxy:
    unit = configparser.ConfigParser(interpolation=None, strict=False)
    unit.optionxform = str  # type: ignore[assignment,method-assign]  # names as they are written
    unit.read(UNIT)
    return unit["Service"]


def test_a_restart_tells_the_worker_alone_and_waits_for_it() -> None:
    found = service()

    assert found["Type"] == "notify"
    assert int(found["WatchdogSec"]) > 0
    assert found["KillMode"] == "process"
    assert found["TimeoutStopSec"] == "infinity"


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="no systemd here")
def test_systemd_finds_nothing_wrong_with_the_unit(tmp_path: Path) -> None:
    text = UNIT.read_text().replace("/usr/local/bin/drawbar", "/bin/true")
    unit = tmp_path / UNIT.name
    unit.write_text(text)

    verified = subprocess.run(
        ["systemd-analyze", "verify", unit], capture_output=True, text=True, timeout=30, check=False
    )

    assert (verified.returncode, verified.stderr) == (0, "")
