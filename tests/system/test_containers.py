"""Jobs in containers of a real engine."""

import asyncio
import os
import signal
import textwrap
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import web

from shared.ids import AttemptId
from shared.protocol.pipeline import ContainerSpec, Limits, Pull
from shared.runtime import SystemRuntime
from tests.support.cli import ROOT, Command
from tests.support.engine import BOX, PYTHON, Podman, import_python, podman
from tests.support.images import Images
from worker.ports import CannotStart, ContainerLaunch, Exit, Launch
from worker.runners.containers import process
from worker.runners.containers.process import ContainerProcess
from worker.runners.containers.runner import ContainerRunner
from worker.settings import WorkerSettings

OFFLINE = ContainerSpec(network="none")


@pytest.fixture(scope="module")
def service() -> Iterator[Podman]:
    with podman() as engine:
        yield engine


@pytest.fixture
def engine(service: Podman) -> Iterator[Podman]:
    yield service
    assert service.containers() == []


@asynccontextmanager
async def serving(images: Images, address: str) -> AsyncIterator[None]:
    host, _, port = address.partition(":")
    runner = web.AppRunner(images.app())
    await runner.setup()
    try:
        await web.TCPSite(runner, host, int(port)).start()
        yield
    finally:
        await runner.cleanup()


class Bench:
    """Starts containers as a worker does, one folder and one log for each."""

    def __init__(self, engine: Podman, folder: Path) -> None:
        self.folder = folder
        settings = WorkerSettings(name="bench", slots=1, docker=engine.address)
        environ = {"HOME": str(folder)}
        self.runner = ContainerRunner(settings, folder / "home", environ, SystemRuntime())
        self._count = 0

    async def start(
        self,
        *argv: str,
        image: str = BOX,
        spec: ContainerSpec = OFFLINE,
        limits: Limits | None = None,
        working_dir: str | None = None,
        **env: str,
    ) -> ContainerProcess:
        self._count += 1
        self.cwd = self.folder / f"cwd{self._count}"
        self.cwd.mkdir()
        self._log = self.folder / f"log{self._count}"
        launch = Launch(
            argv=argv,
            env=env,
            cwd=self.cwd,
            log=self._log,
            attempt_id=AttemptId(f"{os.getpid()}-{self.folder.name}-{self._count}"),
            limits=limits,
            container=ContainerLaunch(image, spec, working_dir, labels={}),
        )
        return await self.runner.start(launch)

    async def end(self, *argv: str, **wishes: object) -> Exit:
        started = await self.start(*argv, **wishes)  # type: ignore[arg-type] # as `start` has them
        ended = await started.wait()
        await started.reap()
        return ended

    @property
    def log(self) -> str:
        return self._log.read_text()

    async def until(self, is_so: Callable[[], bool]) -> None:
        """There is no event for what another process does, so we look."""
        async with asyncio.timeout(20):
            while not is_so():  # noqa: ASYNC110 - see above
                await asyncio.sleep(0.02)


@pytest.fixture
async def bench(engine: Podman, tmp_path: Path) -> AsyncIterator[Bench]:
    bench = Bench(engine, tmp_path)
    yield bench
    await bench.runner.close()


async def test_the_exit_code_and_both_outputs_come_back(bench: Bench) -> None:
    ended = await bench.end("sh", "-c", "echo out; echo err >&2; exit 7")

    assert (ended.exit_code, ended.signal) == (7, None)
    assert sorted(bench.log.splitlines()) == ["err", "out"]


async def test_the_environment_is_the_jobs_and_the_images(bench: Bench) -> None:
    await bench.end("env", MINE="ä b", PATH="/opt/bin:${PATH}")

    lines = bench.log.splitlines()
    assert "MINE=ä b" in lines
    assert "PATH=/opt/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin" in lines
    known = {"MINE", "PATH", "HOME", "HOSTNAME", "TERM", "container"}
    assert {line.partition("=")[0] for line in lines} <= known


async def test_its_folder_is_the_workspace_whoever_it_is(bench: Bench) -> None:
    spec = ContainerSpec(network="none", user="0:0", workspace="/src")

    await bench.end("sh", "-c", "pwd; touch made; cd; id -u", spec=spec)
    assert bench.log.splitlines() == ["/src", "0"]
    assert (bench.cwd / "made").exists()

    await bench.end("sh", "-c", "pwd; ls -d /workspace", spec=OFFLINE, working_dir="/tmp")
    assert bench.log.splitlines() == ["/tmp", "/workspace"]


async def test_limits_are_the_engines_to_keep(bench: Bench) -> None:
    limits = Limits(open_files=200, memory_bytes=32 << 20, cpus=0.5, pids=20, nice=5)

    await bench.end("sh", "-c", "ulimit -n; for i in $(seq 40); do sleep 1 & done", limits=limits)
    assert bench.log.startswith("200\n")
    assert "fork" in bench.log

    ended = await bench.end("dd", "if=/dev/zero", "of=/dev/null", "bs=200M", limits=limits)
    assert ended.breach is not None
    assert ended.breach.kind == "oom"
    assert "limit 32 MiB" in ended.breach.message


async def test_terminate_ends_what_knows_no_signals_and_kill_what_ignores_them(
    bench: Bench,
) -> None:
    plain = await bench.start("sh", "-c", "echo up; sleep 100")
    await bench.until(lambda: "up" in bench.log)
    plain.terminate()
    assert (await plain.wait()).signal == signal.SIGTERM
    await plain.reap()

    deaf = await bench.start("sh", "-c", "trap '' TERM; echo up; while :; do sleep 0.1; done")
    await bench.until(lambda: "up" in bench.log)
    deaf.terminate()
    deaf.kill()
    assert (await deaf.wait()).signal == signal.SIGKILL
    await deaf.reap()


@pytest.mark.parametrize(
    ("argv", "image", "spec", "says"),
    [
        ("nosuch", BOX, OFFLINE, f"no such command in image '{BOX}': 'nosuch'"),
        ("true", "nope/nope:1", ContainerSpec(pull=Pull.NEVER), "`pull: never` forbids"),
        ("true", "Not An Image", OFFLINE, "image 'Not An Image': .*invalid reference"),
        ("true", BOX, ContainerSpec(network="nonet"), "cannot be started: .*nonet"),
        ("true", BOX, ContainerSpec(network="none", user="who"), "cannot be started: .*user who"),
    ],
)
async def test_what_cannot_start_says_why(
    bench: Bench, argv: str, image: str, spec: ContainerSpec, says: str
) -> None:
    with pytest.raises(CannotStart, match=says):
        await bench.end(argv, image=image, spec=spec)


async def test_an_image_is_pulled_when_it_is_missing_and_told_of_in_the_log(
    bench: Bench, engine: Podman
) -> None:
    image = f"{engine.registry}/box:1"
    async with serving(Images((engine.home / "box.tar").read_bytes()), engine.registry):
        fetched = await bench.end("env", image=image, MINE="${FROM_IMAGE}")
        told = bench.log
        with pytest.raises(CannotStart, match=r"secret:1' cannot be pulled: .*denied.*logged in"):
            await bench.end("true", image=f"{engine.registry}/secret:1")
    again = await bench.end("true", image=image)

    first, second, *rest = told.splitlines()
    assert first == f"[drawbar] pulling image '{image}'"
    assert second.startswith(f"[drawbar] pulled image '{image}' in ")
    assert "MINE=yes" in rest
    assert (fetched.exit_code, again.exit_code, bench.log) == (0, 0, "")


async def test_a_pull_can_be_stopped(bench: Bench) -> None:
    started = await bench.start("true", image="127.0.0.1:1/x:1")
    await bench.until(lambda: "pulling image" in bench.log)

    started.terminate()

    assert (await started.wait()).signal == signal.SIGTERM
    await started.reap()


async def test_a_container_that_somebody_removes_is_lost_and_the_worker_goes_on(
    bench: Bench, engine: Podman
) -> None:
    started = await bench.start("sh", "-c", "echo up; sleep 100")
    await bench.until(lambda: "up" in bench.log)

    engine.remove_all()
    ended = await started.wait()
    await started.reap()

    assert ended.lost == "its container was removed by somebody else while it ran"
    assert (await bench.end("true")).exit_code == 0


async def test_a_job_goes_on_while_its_engine_is_restarted(bench: Bench, engine: Podman) -> None:
    started = await bench.start(
        "sh", "-c", "echo one; while [ ! -e go ]; do sleep 0.1; done; echo two; exit 5"
    )
    await bench.until(lambda: "one" in bench.log)

    engine.kill()
    (bench.cwd / "go").touch()
    await asyncio.to_thread(engine.start)
    ended = await started.wait()
    await started.reap()

    assert ended.exit_code == 5
    assert bench.log == "one\ntwo\n"


async def test_an_engine_that_does_not_return_loses_the_job_and_its_rest_is_removed_first(
    bench: Bench, engine: Podman, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process, "AWAY_S", 0.2)
    started = await bench.start("sh", "-c", "echo up; sleep 100")
    await bench.until(lambda: "up" in bench.log)

    engine.kill()
    try:
        ended = await started.wait()
        await started.reap()
        with pytest.raises(CannotStart, match=r"cannot be used: .*is it running\?"):
            await bench.end("true")
    finally:
        engine.start()

    assert f"the container engine at {engine.address} went away" in ended.lost
    assert len(engine.containers()) == 1
    assert (await bench.end("true")).exit_code == 0


# -- as a person does it ---------------------------------------------------------------------------


@pytest.fixture
def drawbar(engine: Podman, tmp_path: Path) -> Command:
    command = Command(tmp_path)
    command.env["DOCKER_HOST"] = engine.address
    return command


def test_the_example_runs(drawbar: Command) -> None:
    example = ROOT / "examples" / "containers.yaml"

    done = drawbar.run("run", example, "--param", f"image={BOX}", "--workers", "1")

    assert done.returncode == 0, done.stdout
    assert drawbar.run("logs", "1", "write").stdout == "written by 0 in /workspace\n"
    assert drawbar.run("logs", "1", "read").stdout == "27 letter.txt\n"
    assert drawbar.run("logs", "1", "here").stdout == "/tmp\n1000\n"


@pytest.mark.prove
def test_the_staged_example_runs_in_containers(drawbar: Command) -> None:
    text = (ROOT / "examples" / "staged.yaml").read_text().replace("debian:12", BOX)

    done = drawbar.json("run", drawbar.write("staged.yaml", text))

    assert done["status"] == "success"
    assert {status: n for status, n in done["counts"].items() if n} == {"success": 3, "failed": 1}


def test_a_worker_that_was_killed_removes_its_containers_at_its_next_start_and_no_others(
    drawbar: Command, engine: Podman
) -> None:
    engine.run(
        *("run", "--detach", "--name=other", "--network=none"),
        *("--label=drawbar.worker=embedded", "--label=drawbar.home=/elsewhere"),
        *(BOX, "sleep", "100"),
    )
    text = f"name: p\nimage: {BOX}\ncontainer: {{network: none}}\n"
    long = drawbar.write("long.yaml", text + "jobs: [{id: a, command: sleep 100}]\n")
    started = drawbar.start("run", long)
    try:
        while len(engine.containers()) < 2:
            assert started.poll() is None
    finally:
        started.kill()
        started.communicate()
    assert len(engine.containers()) == 2

    done = drawbar.run("run", drawbar.write("p.yaml", text + "jobs: [{id: b, command: 'true'}]\n"))

    assert done.returncode == 0, done.stdout
    assert engine.containers() == ["other"]
    engine.remove_all()


def test_a_task_runs_in_its_images_python(drawbar: Command, engine: Podman) -> None:
    import_python(engine)
    flow = drawbar.write(
        "flow.py",
        textwrap.dedent(f"""
            import sys
            from drawbar import context, pipeline, task

            BOXED = {{"image": "{PYTHON}", "container": {{"network": "none"}}}}

            @task(**BOXED)
            def number():
                print("in", sys.executable, context.job_id)
                return 20

            @task(**BOXED)
            def double(n):
                with open("made.txt", "w") as file:
                    file.write(str(2 * n))
                return 2 * n

            @task(image="{BOX}", container={{"network": "none"}})
            def nowhere():
                return 1

            with pipeline("boxed") as p:
                double(number())
                nowhere()
        """),
    )

    done = drawbar.run("run", flow)

    assert drawbar.run("logs", "1", "number").stdout == "in /usr/bin/python3 number\n", done.stdout
    jobs = {job["id"]: job for job in drawbar.json("show", "1")["jobs"]}
    assert (jobs["number"]["status"], jobs["double"]["status"]) == ("success", "success")
    assert jobs["nowhere"]["reason"]["message"] == (
        f"no such command in image '{BOX}': 'python3'; "
        "tasks in Python need Python 3.11 or newer in their image"
    )
