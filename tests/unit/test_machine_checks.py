"""What is found on a machine that is well, and on one that is not."""

import os
from collections.abc import Mapping
from pathlib import Path

import pytest

from shared.errors import Unavailable
from tests.support.processes import ScriptedProcess, ScriptedRunner
from tests.support.runtime import ManualRuntime
from worker.health import Health
from worker.machine_checks import MIB, ClockCheck, DiskCheck, MemoryCheck, RunnerCheck
from worker.ports import Launch


async def test_a_disk_with_room_is_good_and_nothing_is_left_on_it(tmp_path: Path) -> None:
    found = await DiskCheck(tmp_path, 1, ManualRuntime()).look()

    assert found.is_good
    assert found.says.endswith(" free")
    assert os.listdir(tmp_path) == []


async def test_a_disk_with_less_room_than_needed_says_how_much_there_is(tmp_path: Path) -> None:
    found = await DiskCheck(tmp_path, 1 << 60, ManualRuntime()).look()

    assert not found.is_good
    assert found.says.endswith("free; needs 1073741824.0 GiB")


async def test_a_folder_in_which_nothing_can_be_written_is_what_is_wrong(tmp_path: Path) -> None:
    health = Health([DiskCheck(tmp_path / "gone", 1, ManualRuntime())], ManualRuntime())

    await health.look_once()

    assert health.flaw == "disk: No such file or directory"


@pytest.mark.parametrize(("available_kb", "is_good"), [(65_536, True), (65_535, False)])
async def test_memory_is_what_the_kernel_says_is_available(
    tmp_path: Path, available_kb: int, is_good: bool
) -> None:
    meminfo = f"MemTotal: 999999 kB\nMemAvailable: {available_kb} kB\n"
    (tmp_path / "meminfo").write_text(meminfo)

    found = await MemoryCheck(64 * MIB, tmp_path).look()

    assert found is not None
    assert found.is_good is is_good


@pytest.mark.parametrize(
    ("kind", "options", "own", "names"),
    [
        ("cgroup2", "rw", "0::/pod/worker", ("memory.max", "memory.current", "")),
        (
            "cgroup",
            "rw,memory",
            "4:cpu,memory:/pod/worker",
            ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_"),
        ),
    ],
)
async def test_in_a_control_group_memory_is_what_the_least_of_those_around_us_leaves(
    tmp_path: Path, kind: str, options: str, own: str, names: tuple[str, str, str]
) -> None:
    proc, mount = tmp_path / "proc", tmp_path / "groups"
    inner = mount / "pod" / "worker"
    (proc / "self").mkdir(parents=True)
    inner.mkdir(parents=True)
    (proc / "meminfo").write_text("MemAvailable: 99999999 kB\n")
    (proc / "self" / "cgroup").write_text(f"{own}\n")
    (proc / "self" / "mounts").write_text(f"{kind} {mount} {kind} {options} 0 0\n")
    limit, used, prefix = names
    for group, most in ((inner, "max"), (inner.parent, str(100 * MIB))):
        (group / limit).write_text(f"{most}\n")
        (group / used).write_text(f"{90 * MIB}\n")
        (group / "memory.stat").write_text(f"{prefix}inactive_file {30 * MIB}\n")

    found = await MemoryCheck(64 * MIB, proc).look()

    assert found is not None
    assert (found.is_good, found.says) == (False, "40 MiB free; needs 64 MiB")


@pytest.mark.parametrize(
    ("date", "is_good", "says"),
    [
        ("Thu, 01 Jan 2026 12:00:00 GMT", True, "as the gateway's"),
        ("Thu, 01 Jan 2026 11:59:59 GMT", True, "as the gateway's"),
        ("Thu, 01 Jan 2026 12:00:30 GMT", True, "30 s behind the gateway's"),
        ("Thu, 01 Jan 2026 12:05:00 GMT", False, "300 s behind the gateway's; may be 60 s"),
        ("Thu, 01 Jan 2026 11:55:00 GMT", False, "299 s ahead of the gateway's; may be 60 s"),
    ],
)
async def test_the_clock_is_compared_with_the_gateway_s(
    date: str, is_good: bool, says: str
) -> None:
    async def ask() -> Mapping[str, str]:
        return {"Date": date}

    found = await ClockCheck(ask, 60.0, ManualRuntime()).look()

    assert found is not None
    assert (found.is_good, found.says.partition(": ")[0]) == (is_good, says)


async def test_a_clock_that_is_set_while_it_is_compared_says_nothing() -> None:
    runtime = ManualRuntime()

    async def ask() -> Mapping[str, str]:
        runtime.step_wall_clock(3_600)
        return {"Date": "Thu, 01 Jan 2026 12:00:00 GMT"}

    assert await ClockCheck(ask, 60.0, runtime).look() is None


@pytest.mark.parametrize("headers", [{}, {"Date": "yesterday"}])
async def test_a_gateway_that_does_not_say_its_time_is_no_flaw(headers: dict[str, str]) -> None:
    async def ask() -> Mapping[str, str]:
        return headers

    assert await ClockCheck(ask, 60.0, ManualRuntime()).look() is None


async def test_a_gateway_that_is_away_is_no_flaw_of_this_machine() -> None:
    async def ask() -> Mapping[str, str]:
        raise Unavailable(service="gateway")

    assert await ClockCheck(ask, 60.0, ManualRuntime()).look() is None


class _Ending(ScriptedRunner):
    """Processes that end at once."""

    exit_code = 0

    async def start(self, launch: Launch) -> ScriptedProcess:
        process = await super().start(launch)
        process.end(self.exit_code)
        return process


async def test_a_runner_that_starts_a_process_is_good(tmp_path: Path) -> None:
    found = await RunnerCheck(tmp_path, _Ending()).look()

    assert (found.is_good, found.says) == (True, "processes start and end")


async def test_a_runner_that_cannot_start_one_says_why(tmp_path: Path) -> None:
    runner = _Ending()
    runner.exit_code = 127

    found = await RunnerCheck(tmp_path, runner).look()

    assert (found.is_good, found.says) == (False, "a process that does nothing: exit code 127")
