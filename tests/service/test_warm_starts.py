"""Tasks that start as copies of a server, and what they must not differ in from cold ones."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from shared.protocol.gateway import Outcome
from tests.support.daemons import processes_with
from tests.support.tasks import TaskStage, attempt
from worker.runners.marks import kill_marked
from worker.warm.servers import Flow

pytestmark = pytest.mark.slow

RETURNED = ("(own)", "return_value")
IS_COPY = "b'--serve' in open(f'/proc/{os.getppid()}/cmdline', 'rb').read()"
LOOK = f"import os\n@task\ndef go(): return {IS_COPY}\nwith pipeline('p'): go()\n"


@pytest.fixture
async def warm(tmp_path: Path) -> AsyncIterator[TaskStage]:
    stage = TaskStage(tmp_path, is_warm=True)
    yield stage
    await stage.close()


async def is_copy(stage: TaskStage, text: str = LOOK, env: dict[str, str] | None = None) -> object:
    """What the flow's task returns, after a run that has ended well."""
    ended = await stage.run_flow(text, env=env)
    assert ended.result.outcome is Outcome.EXITED, ended
    return stage.execution.xcoms[RETURNED]


def content(log: Path) -> bytes:
    return log.read_bytes()


def lives(pid: int) -> bool:
    return os.path.exists(f"/proc/{pid}")


async def output_of(log: Path, wanted: bytes) -> None:
    async with asyncio.timeout(10):
        while wanted not in content(log):  # noqa: ASYNC110 - nothing tells of it
            await asyncio.sleep(0.005)


def servers_of(stage: TaskStage) -> list[int]:
    """The servers' processes, whose copies have the same words and environment."""
    found = {}
    for entry in os.listdir("/proc"):
        if entry.isdecimal():
            try:
                words = Path(f"/proc/{entry}/cmdline").read_bytes().split(b"\0")
                env = Path(f"/proc/{entry}/environ").read_bytes()
                stat = Path(f"/proc/{entry}/stat").read_text()
            except OSError:
                continue
            if b"--serve" in words and f"STAGE={stage.folder}".encode() in env:
                found[int(entry)] = int(stat.rpartition(")")[2].split()[1])
    return [pid for pid, parent in found.items() if parent not in found]


async def until_servers(stage: TaskStage, count: int) -> None:
    async with asyncio.timeout(10):
        while len(servers_of(stage)) != count:  # noqa: ASYNC110 - nothing tells of it
            await asyncio.sleep(0.01)


async def until_noticed(stage: TaskStage, flow: Flow) -> None:
    """The worker knows that the flow's server has ended."""
    async with asyncio.timeout(10):
        while stage.warm.has(flow):  # noqa: ASYNC110 - nothing tells of it
            await asyncio.sleep(0.01)


# -- when ---------------------------------------------------------------------------------------


async def test_the_first_task_of_a_flow_starts_cold_and_later_ones_warm(tmp_path: Path) -> None:
    stage = TaskStage(tmp_path, is_warm=True, warms_first=False)

    seen = [await is_copy(stage) for _ in range(3)]

    await stage.close()
    assert seen == [False, True, True]


async def test_without_servers_every_task_starts_cold(tmp_path: Path) -> None:
    stage = TaskStage(tmp_path)

    seen = [await is_copy(stage) for _ in range(2)]

    await stage.close()
    assert seen == [False, False]


async def test_another_environment_is_for_another_server(warm: TaskStage) -> None:
    text = LOOK.replace(IS_COPY, "COLOUR").replace(
        "@task", "COLOUR = os.environ.get('COLOUR')\n@task"
    )

    seen = [await is_copy(warm, text, env={"COLOUR": one}) for one in ("red", "blue", "red")]

    assert seen == ["red", "blue", "red"]


async def test_a_task_with_its_attempts_name_in_its_environment_starts_cold(
    warm: TaskStage,
) -> None:
    assert await is_copy(warm, env={"NAME": f"job-{attempt(1)}"}) is False


# -- what a copy does not differ in --------------------------------------------------------------

LOOK_AROUND = """
    import os, sys, signal, threading
    SEEN_AT_IMPORT = [os.environ["PATH"], __name__, __file__, sys.argv, list(sys.path)]
    os.environ["SET_AT_IMPORT"] = "1"
    os.environ.pop("GONE_AT_IMPORT", None)
    print("imported")

    @task
    def go():
        print("called")
        descriptors = {}
        for n in sorted(map(int, os.listdir("/proc/self/fd"))):
            try:
                descriptors[str(n)] = os.readlink(f"/proc/self/fd/{n}").partition("[")[0]
            except OSError:
                pass
        status = {
            line.partition(":")[0]: line.partition(":")[2].strip()
            for line in open("/proc/self/status")
        }
        status = {k: status[k] for k in ("SigBlk", "SigIgn", "SigCgt", "Threads", "Umask")}
        return [
            SEEN_AT_IMPORT, sorted(sys.modules), list(sys.path), sys.argv,
            sorted(os.environ.items()), os.getcwd(), descriptors, status,
            os.getsid(0) == os.getpid() == os.getpgid(0),
            sys.stdout.seekable(), sys.stdin.read(), threading.active_count(),
            sys.modules["__main__"].__file__, sys.flags.isolated, sys.gettrace() is None,
            [os.isatty(n) for n in range(3)],
        ]

    with pipeline("p"): go()
"""


async def test_a_copy_sees_what_a_fresh_interpreter_sees(warm: TaskStage, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    cold = TaskStage(tmp_path / "other")
    env = {"GONE_AT_IMPORT": "1", "DRAWBAR_ATTEMPT_ID": "a-1", "DRAWBAR_TRY": "2", "MINE": "x"}

    in_warm = await warm.run_flow(LOOK_AROUND, env=env)
    in_cold = await cold.run_flow(LOOK_AROUND, env=env)

    await cold.close()
    same = str(warm.execution.xcoms[RETURNED]).replace(f"{tmp_path}/", f"{tmp_path}/other/")
    assert same == str(cold.execution.xcoms[RETURNED])
    assert in_warm.log == in_cold.log == "imported\ncalled\n"


async def test_each_copy_has_chance_of_its_own(warm: TaskStage) -> None:
    text = "import random\n@task\ndef go(): return random.random()\nwith pipeline('p'): go()\n"

    drawn = {str(await is_copy(warm, text)) for _ in range(5)}

    assert len(drawn) == 5


async def test_the_end_of_a_copy_is_the_end_of_an_interpreter(warm: TaskStage) -> None:
    ended = await warm.run_body("""
        import atexit, ctypes, threading, time
        atexit.register(print, "at exit")
        threading.Thread(target=lambda: (time.sleep(0.05), print("thread"))).start()
        ctypes.CDLL(None).printf(b"from C\\n")
    """)

    assert sorted(ended.log.split("\n")) == ["", "at exit", "from C", "thread"]
    assert ended.exit.exit_code == 0


async def test_what_a_copy_used_is_its_own(warm: TaskStage) -> None:
    ended = await warm.run_body("""
        import time
        began = time.process_time()
        while time.process_time() - began < 0.1: pass
    """)

    cpu_s = ended.exit.usage.cpu_s
    assert cpu_s is not None
    assert 0.1 <= cpu_s < 1
    assert (ended.exit.usage.max_rss_bytes or 0) > 1_000_000


async def test_a_module_that_has_changed_is_imported_anew(warm: TaskStage, tmp_path: Path) -> None:
    (tmp_path / "lib").mkdir()
    module = tmp_path / "lib" / "extra_module.py"
    text = "import extra_module\n@task\ndef go(): return extra_module.X\nwith pipeline('p'): go()\n"
    text = "import sys\nif LIB not in sys.path: sys.path.append(LIB)\n" + text
    text = text.replace("LIB", repr(str(module.parent)))
    seen = []
    for value in (1, 1, 2_000):
        module.write_text(f"X = {value}\n")
        seen.append(await is_copy(warm, text, env={"PYTHONPATH": str(module.parent)}))

    assert seen == [1, 1, 2_000]


# -- what cannot be kept warm ---------------------------------------------------------------------


@pytest.mark.parametrize(
    "top",
    [
        "import _thread, time; _thread.start_new_thread(time.sleep, (9,))",
        "KEPT = open(os.devnull)",
        "import socket; KEPT = socket.socketpair()",
        "import subprocess; KEPT = subprocess.Popen(['sleep', '9'])",
        "import signal; signal.setitimer(signal.ITIMER_REAL, 9)",
        "import multiprocessing; KEPT = multiprocessing.Lock()",
        "import mmap; KEPT = mmap.mmap(-1, 4096)",
        "open('left.txt', 'w').close()",
        "os.chdir('/')",
        "context.is_running",
        "print('x' * 70_000)",
        "os.environ[MARK]",
        "import asyncio; KEPT = asyncio.new_event_loop()",
        "if MARK not in os.environ: import time; time.sleep(20)",
        "if MARK not in os.environ: os._exit(3)",
        "if MARK not in os.environ: os.abort()",
        "if MARK not in os.environ: raise SystemExit",
    ],
)
async def test_a_flow_that_copies_would_share_something_of_starts_cold(
    warm: TaskStage, top: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("worker.warm.servers.IMPORT_S", 0.5)
    top = top.replace("MARK", "'DRAWBAR_ATTEMPT_ID'")
    text = f"import os\nif 'bundles' in __file__:\n    {top}\n{LOOK}"

    assert await is_copy(warm, text, env={"STAGE": str(warm.folder)}) is False
    await until_servers(warm, 0)


# -- ends of servers ----------------------------------------------------------------------------


async def test_a_server_that_is_killed_takes_its_copies_with_it(warm: TaskStage) -> None:
    spec = warm.spec_of("""
        import time
        @task
        def go():
            print("up")
            time.sleep(60)
        with pipeline("p"): go()
    """)
    process, log = await warm.start(spec, env={"STAGE": str(warm.folder)})
    waiting = asyncio.ensure_future(process.wait())
    await output_of(log, b"up")

    for pid in servers_of(warm):
        os.kill(pid, signal.SIGKILL)

    ended = await waiting
    await process.reap()
    assert ended.task is not None
    assert "was ended by signal 9" in ended.task.flaw
    assert await is_copy(warm) is True  # of another flow, in another server


async def test_copies_end_when_the_worker_hangs_up(warm: TaskStage) -> None:
    spec = warm.spec_of("import time\n@task\ndef go():\n  print('up'); time.sleep(60)\n"
                        "with pipeline('p'): go()\n")  # fmt: skip
    process, log = await warm.start(spec)
    waiting = asyncio.ensure_future(process.wait())
    await output_of(log, b"up")

    await warm.warm.close()

    assert (await waiting).signal == signal.SIGKILL
    await process.reap()


async def test_servers_are_few(warm: TaskStage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("worker.warm.servers.MOST_SERVERS", 2)

    for colour in ("red", "green", "blue", "red"):
        env = {"COLOUR": colour, "STAGE": str(warm.folder)}
        assert await is_copy(warm, env=env) is True

    await until_servers(warm, 2)


async def test_servers_are_small(warm: TaskStage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("worker.warm.servers.MOST_BYTES", 1_000)

    assert await is_copy(warm) is False


async def test_a_server_that_nobody_uses_ends(
    warm: TaskStage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("worker.warm.servers.IDLE_S", 0.05)
    await warm.run_flow(LOOK, env={"STAGE": str(warm.folder)})  # a copy, if it was quick enough
    assert warm.flow is not None

    await until_servers(warm, 0)
    await until_noticed(warm, warm.flow)

    monkeypatch.undo()
    assert await is_copy(warm, env={"STAGE": str(warm.folder)}) is True


# -- process trees --------------------------------------------------------------------------------

DAEMON = """
    import os, time
    @task
    def go(seconds):
        if os.fork() == 0:
            os.setsid()
            if os.fork() == 0:
                os.write(1, b"%d\\n" % os.getpid())
                while True: time.sleep(1)
            os._exit(0)
        time.sleep(seconds)
        return open(f"/proc/{os.getpid()}/stat").read().split()[2]
    with pipeline("p"): go(0.2)
"""


async def test_a_process_that_leaves_its_session_ends_with_its_task(warm: TaskStage) -> None:
    spec = warm.spec_of(DAEMON)
    longer = warm.spec_of(DAEMON.replace("go(0.2)", "go(60)"))
    process, log = await warm.start(longer)
    waiting = asyncio.ensure_future(process.wait())
    await output_of(log, b"\n")

    ended = await warm.run(spec)

    assert not lives(int(ended.log))
    assert lives(int(content(log)))  # that of a task which still runs
    process.kill()
    await process.reap()
    await waiting
    assert not lives(int(content(log)))


async def test_a_copy_and_what_it_starts_bear_the_mark_of_their_attempt(warm: TaskStage) -> None:
    spec = warm.spec_of("""
        import os, time
        @task
        def go():
            os.fork()
            print("up", flush=True)
            time.sleep(60)
        with pipeline("p"): go()
    """)
    process, log = await warm.start(spec, env={"DRAWBAR_ATTEMPT_ID": "one-of-its-own"})
    waiting = asyncio.ensure_future(process.wait())
    await output_of(log, b"up\nup")

    bearers = processes_with("DRAWBAR_ATTEMPT_ID", "one-of-its-own")
    killed = kill_marked(["one-of-its-own"])

    assert (await waiting).signal == signal.SIGKILL
    await process.reap()
    assert len(bearers) == 2
    assert process.pid in bearers
    assert {*killed} <= {*bearers}  # whichever was killed first may have ended the other
    assert processes_with("DRAWBAR_ATTEMPT_ID", "one-of-its-own") == {}


async def test_a_copy_ends_when_its_time_is_over_though_nobody_stops_it(warm: TaskStage) -> None:
    spec = warm.spec_of("import time\n@task\ndef go(): time.sleep(60)\nwith pipeline('p'): go()\n")
    process, _ = await warm.start(spec)
    waiting = asyncio.ensure_future(process.wait())

    warm.runner.permit({attempt(1): warm.runtime.mono() + 0.1})

    assert (await waiting).signal == signal.SIGKILL
    await process.reap()
