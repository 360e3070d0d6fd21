"""What every Runner promises. Subclass once per runner; real processes, no mocks."""

import asyncio
import dataclasses
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from worker.ports import CannotStart, Launch, Runner
from worker.runners.kept import KeptRunner
from worker.runners.marks import has_living_members

MakeLaunch = Callable[..., Launch]


@pytest.fixture
def launch(tmp_path: Path) -> MakeLaunch:
    def make(*argv: str, cwd: Path = tmp_path, **env: str) -> Launch:
        path = {"PATH": os.environ["PATH"]}
        return Launch(argv=argv, env=path | env, cwd=cwd, log=tmp_path / "log")

    return make


def output(launch: Launch) -> bytes:
    return Path(launch.log).read_bytes()


async def output_of(launch: Launch, wanted: bytes) -> None:
    """The log holds `wanted`. Nothing tells when a process has written, so we look."""
    async with asyncio.timeout(10):
        while wanted not in output(launch):  # noqa: ASYNC110 - there is no event to wait for
            await asyncio.sleep(0.005)


class RunnerContract:
    """Promises of `worker/ports.py`."""

    async def test_the_exit_code_is_told(self, runner: Runner, launch: MakeLaunch) -> None:
        process = await runner.start(launch("sh", "-c", "exit 7"))

        ended = await process.wait()

        assert (ended.exit_code, ended.signal) == (7, None)
        assert await process.wait() == ended
        await process.reap()

    async def test_stdin_holds_what_was_given_and_otherwise_nothing(
        self, runner: Runner, launch: MakeLaunch
    ) -> None:
        large = b"x" * 300_000  # more than a pipe holds
        given = dataclasses.replace(launch("wc", "-c"), stdin=large)
        for each in (given, launch("wc", "-c")):
            process = await runner.start(each)
            await process.wait()
            await process.reap()

        assert output(given).split() == [b"300000", b"0"]

    async def test_the_signal_that_ended_it_is_told(
        self, runner: Runner, launch: MakeLaunch
    ) -> None:
        process = await runner.start(launch("sh", "-c", "kill -USR1 $$"))

        ended = await process.wait()

        assert (ended.exit_code, ended.signal) == (None, signal.SIGUSR1)
        await process.reap()

    async def test_both_outputs_go_to_the_log_in_their_order(
        self, runner: Runner, launch: MakeLaunch
    ) -> None:
        ask = launch("sh", "-c", "echo one; echo two >&2; echo three")
        process = await runner.start(ask)

        await process.wait()
        await process.reap()

        assert output(ask) == b"one\ntwo\nthree\n"

    async def test_input_is_empty(self, runner: Runner, launch: MakeLaunch) -> None:
        process = await runner.start(launch("cat"))

        assert (await process.wait()).exit_code == 0
        await process.reap()

    async def test_directory_and_environment_are_those_asked_for_and_no_more(
        self, runner: Runner, launch: MakeLaunch, tmp_path: Path
    ) -> None:
        inner = tmp_path / "in ner"
        inner.mkdir()
        ask = launch("env", cwd=inner, MINE="ä=1")
        process = await runner.start(ask)
        await process.wait()
        await process.reap()

        lines = output(ask).decode().splitlines()

        assert sorted(lines) == sorted([f"PATH={os.environ['PATH']}", "MINE=ä=1"])

    async def test_a_bare_command_is_found_in_the_jobs_own_path(
        self, runner: Runner, launch: MakeLaunch, tmp_path: Path
    ) -> None:
        tool = tmp_path / "tools" / "greet"
        tool.parent.mkdir()
        tool.write_text("#!/bin/sh\necho hello\n")
        tool.chmod(0o755)
        ask = launch("greet", PATH=str(tool.parent))

        await (process := await runner.start(ask)).wait()
        await process.reap()

        assert output(ask) == b"hello\n"
        with pytest.raises(CannotStart, match="no such command: 'greet'"):
            await runner.start(launch("greet"))

    async def test_a_relative_command_is_found_from_the_working_directory(
        self, runner: Runner, launch: MakeLaunch, tmp_path: Path
    ) -> None:
        tool = tmp_path / "greet"
        tool.write_text("#!/bin/sh\necho hello\n")
        tool.chmod(0o755)
        ask = launch("./greet")

        await (process := await runner.start(ask)).wait()
        await process.reap()

        assert output(ask) == b"hello\n"

    async def test_signals_are_as_a_program_expects_them(
        self, runner: Runner, launch: MakeLaunch
    ) -> None:
        """Whoever started the worker may have ignored some, as nohup does."""
        ask = launch("grep", "-E", "^Sig(Blk|Ign)", "/proc/self/status")
        before = signal.signal(signal.SIGQUIT, signal.SIG_IGN)

        try:
            await (process := await runner.start(ask)).wait()
        finally:
            signal.signal(signal.SIGQUIT, before)
        await process.reap()

        masks = [int(line.split()[1], 16) for line in output(ask).splitlines()]
        assert [mask & 0x7FFF_FFFF for mask in masks] == [0, 0]  # the real-time ones are libc's

    async def test_no_descriptor_of_the_worker_is_inherited(
        self, runner: Runner, launch: MakeLaunch, tmp_path: Path
    ) -> None:
        with (tmp_path / "secret").open("w") as secret:
            os.set_inheritable(secret.fileno(), True)
            ask = launch("ls", "/proc/self/fd")
            await (process := await runner.start(ask)).wait()
            await process.reap()

        assert output(ask).split() == [b"0", b"1", b"2", b"3"]  # 3 is the listed folder itself

    async def test_usage_is_measured(self, runner: Runner, launch: MakeLaunch) -> None:
        process = await runner.start(launch(sys.executable, "-c", "b = b'x' * 30_000_000"))

        usage = (await process.wait()).usage
        await process.reap()

        assert usage.wall_s > 0
        assert usage.cpu_s is not None
        assert usage.cpu_s > 0
        assert usage.max_rss_bytes is not None
        assert usage.max_rss_bytes > 30_000_000

    @pytest.mark.parametrize(
        ("argv", "says"),
        [
            (["no-such-command-here"], "no-such-command-here"),
            (["/etc/passwd"], "Permission denied"),
            (["sh", "-c", "nul\0byte"], "null byte"),
            ([], "no command"),
        ],
    )
    async def test_what_cannot_start_says_why(
        self, runner: Runner, launch: MakeLaunch, argv: list[str], says: str
    ) -> None:
        with pytest.raises(CannotStart, match=says):
            await runner.start(launch(*argv))

    async def test_a_missing_directory_is_named(
        self, runner: Runner, launch: MakeLaunch, tmp_path: Path
    ) -> None:
        with pytest.raises(CannotStart, match="nowhere"):
            await runner.start(launch("true", cwd=tmp_path / "nowhere"))

    @pytest.mark.parametrize("replace", ["mkfifo log", "ln -s other log", "mkdir log"])
    async def test_what_a_job_puts_in_the_place_of_its_log_is_not_written_to(
        self, runner: Runner, launch: MakeLaunch, tmp_path: Path, replace: str
    ) -> None:
        process = await runner.start(launch("sh", "-c", f"rm log; {replace}"))
        await process.wait()
        await process.reap()
        before = len(os.listdir("/proc/self/fd"))

        with pytest.raises(CannotStart, match="the log: it is not a regular file"):
            await runner.start(launch("echo", "written"))

        assert not (tmp_path / "other").exists()
        assert len(os.listdir("/proc/self/fd")) == before

    async def test_a_pipe_that_somebody_reads_is_no_log_either(
        self, runner: Runner, launch: MakeLaunch
    ) -> None:
        ask = launch("true")
        os.mkfifo(ask.log)
        reader = os.open(ask.log, os.O_RDONLY | os.O_NONBLOCK)
        try:
            with pytest.raises(CannotStart, match="the log: it is not a regular file"):
                await runner.start(ask)
        finally:
            os.close(reader)

    async def test_terminate_reaches_the_whole_group(
        self, runner: Runner, launch: MakeLaunch
    ) -> None:
        script = "(trap 'echo inner; exit' TERM; echo up; while :; do sleep 0.01; done) & wait"
        ask = launch("sh", "-c", script)
        process = await runner.start(ask)
        await output_of(ask, b"up")

        process.terminate()
        ended = await process.wait()
        await process.reap()

        assert ended.signal == signal.SIGTERM
        process.terminate()  # safe when it is gone
        process.kill()

    async def test_kill_ends_what_ignores_terminate(
        self, runner: Runner, launch: MakeLaunch
    ) -> None:
        ask = launch("sh", "-c", "trap '' TERM; echo up; while :; do sleep 0.01; done")
        process = await runner.start(ask)
        await output_of(ask, b"up")

        process.terminate()
        process.kill()

        assert (await process.wait()).signal == signal.SIGKILL
        await process.reap()

    async def test_nothing_of_the_group_outlives_reap(
        self, runner: Runner, launch: MakeLaunch
    ) -> None:
        process = await runner.start(
            launch("sh", "-c", "trap '' TERM; sleep 100 & sleep 100 & (sleep 100 & sleep 100) &")
        )

        await process.wait()
        await process.reap()

        assert not has_living_members(process.pid)

    async def test_reap_of_what_still_runs_kills_it(
        self, runner: Runner, launch: MakeLaunch
    ) -> None:
        process = await runner.start(launch("sh", "-c", "sleep 100 & sleep 100"))

        await process.reap()

        assert (await process.wait()).signal == signal.SIGKILL
        assert not has_living_members(process.pid)

    async def test_a_cancelled_waiter_harms_nothing(
        self, runner: Runner, launch: MakeLaunch
    ) -> None:
        process = await runner.start(launch("sh", "-c", "sleep 100"))
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await process.wait()

        process.terminate()

        assert (await process.wait()).signal == signal.SIGTERM
        await process.reap()

    async def test_many_at_once_leak_no_descriptors(
        self, runner: Runner, launch: MakeLaunch
    ) -> None:
        async def one(n: int) -> int | None:
            process = await runner.start(launch("sh", "-c", f"exit {n}"))
            ended = await process.wait()
            await process.reap()
            return ended.exit_code

        await asyncio.gather(*(one(n) for n in range(50)))  # a runner may keep some for later
        before = len(os.listdir("/proc/self/fd"))

        codes = await asyncio.gather(*(one(n) for n in range(50)))

        assert codes == list(range(50))
        assert len(os.listdir("/proc/self/fd")) == before


class TestKeptRunner(RunnerContract):
    @pytest.fixture
    async def runner(self, tmp_path: Path) -> AsyncIterator[Runner]:
        runner = KeptRunner(tmp_path / "launcher")
        yield runner
        runner.close()
