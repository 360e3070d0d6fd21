"""Python functions in real task runners, under a real supervisor, with their data in memory."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import suppress
from datetime import datetime
from pathlib import Path

import pytest

from shared.errors import Forbidden, StaleFence, Unavailable
from shared.protocol import execution as e
from shared.protocol.gateway import Outcome
from tests.support.tasks import TaskStage
from worker.ports import CannotStart

pytestmark = pytest.mark.slow


@pytest.fixture(params=["cold", pytest.param("warm", marks=pytest.mark.prove)])
async def stage(tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[TaskStage]:
    """In a fresh interpreter; `make prove` takes copies of one that has imported the flow, too."""
    stage = TaskStage(tmp_path, is_warm=request.param == "warm")
    yield stage
    await stage.close()


RETURNED = ("(own)", "return_value")

# -- calls and results ------------------------------------------------------------------------


async def test_what_a_function_returns_is_kept_for_others(stage: TaskStage) -> None:
    ended = await stage.run_body("return {'rows': [1, 2.5, None, 'ä']}")

    assert (ended.result.outcome, ended.result.exit_code) == (Outcome.EXITED, 0)
    assert ended.result.task == e.Succeed()
    assert stage.execution.xcoms == {RETURNED: {"rows": [1, 2.5, None, "ä"]}}


async def test_nothing_is_kept_of_a_function_that_returns_nothing(stage: TaskStage) -> None:
    await stage.run_body("pass")

    assert stage.execution.xcoms == {}


async def test_arguments_are_literals_and_results_of_other_jobs(stage: TaskStage) -> None:
    stage.execution.xcoms["first", "return_value"] = {"a": 1}

    await stage.run_flow("""
        @task
        def first(): ...
        @task
        def go(*args, **kwargs): return [args, kwargs]
        with pipeline("p"):
            x = first()
            go(1, "two", x, deep={"inside": [x, 3]}, path=None)
    """)

    a = {"a": 1}
    assert stage.execution.xcoms[RETURNED] == [
        [1, "two", a],
        {"deep": {"inside": [a, 3]}, "path": None},
    ]


MAPPED = """
    @task
    def numbers(): ...
    @task
    def go(number, other=0, more=0): return [number, other, more]
    with pipeline("p"): go.partial(more=9).map(numbers(), other=[10, 20, 30])
"""


async def test_an_instance_of_a_mapped_task_takes_its_own_items(stage: TaskStage) -> None:
    stage.execution.xcoms["numbers", "return_value"] = [7, 8, 9]

    await stage.run_flow(MAPPED, map_index=1)

    assert stage.execution.xcoms[RETURNED] == [8, 20, 9]


async def test_results_of_a_mapped_task_are_read_as_a_list(stage: TaskStage) -> None:
    stage.execution.xcoms["square", "return_value"] = [0, 1, 4, 9, 16]

    await stage.run_flow("""
        @task
        def square(x): ...
        @task
        def go(xs): return [sum(xs), len(xs), xs[1], xs[-1], xs[1:4], list(reversed(xs)), xs]
        with pipeline("p"): go(square.map([1, 2]))
    """)

    squares = [0, 1, 4, 9, 16]
    assert stage.execution.xcoms[RETURNED] == [30, 5, 1, 16, [1, 4, 9], squares[::-1], squares]


async def test_items_of_a_mapping_are_kept_one_by_one(stage: TaskStage) -> None:
    await stage.run_flow("""
        @task(multiple_outputs=True)
        def go(): return {"low": 1, "high": 2}
        with pipeline("p"): go()
    """)

    own = {key: value for (_, key), value in stage.execution.xcoms.items()}
    assert own == {"return_value": {"low": 1, "high": 2}, "low": 1, "high": 2}


@pytest.mark.parametrize(
    ("decorator", "returned", "follow"),
    [
        ("task.branch", "'left'", ("left",)),
        ("task.branch", "['left', right]", ("left", "right")),
        ("task.branch", "None", ()),
        ("task.short_circuit", "[]", ()),
        ("task.short_circuit", "'yes'", None),
    ],
)
async def test_a_task_can_choose_what_goes_on(
    stage: TaskStage, decorator: str, returned: str, follow: tuple[str, ...] | None
) -> None:
    ended = await stage.run_flow(f"""
        @task
        def right(): ...
        @{decorator}
        def go(): return {returned}
        with pipeline("p"): go()
    """)

    assert ended.result.task == e.Succeed(follow=follow)


async def test_a_coroutine_is_awaited(stage: TaskStage) -> None:
    await stage.run_flow("""
        import asyncio
        @task
        async def go():
            await asyncio.sleep(0)
            return 5
        with pipeline("p"): go()
    """)

    assert stage.execution.xcoms[RETURNED] == 5


async def test_a_deferred_task_goes_on_in_its_method(stage: TaskStage) -> None:
    resume = e.Resumption(next_method="after", arguments={"n": 2}, event={"at": "noon"})

    await stage.run_flow(
        """
        @task
        def go(): raise AssertionError("not again")
        def after(event, n): return [event["at"], n]
        with pipeline("p"): go()
        """,
        resume=resume,
    )

    assert stage.execution.xcoms[RETURNED] == ["noon", 2]


async def test_the_context_tells_where_the_task_is(stage: TaskStage) -> None:
    await stage.run_body("""
        return [
            context.run_id, context.pipeline, context.job_id, context.tries, context.tries_left,
            context.should_retry, context.params, context.map_index, context.logical_date,
            context.started_at.tzinfo is not None, context.dependencies, context.is_running,
        ]
    """)

    assert stage.execution.xcoms[RETURNED] == [
        *(7, "p", "go", 2, 1, True, {"day": "monday"}, None, None, True, {}, True)
    ]


# -- asking -------------------------------------------------------------------------------------


async def test_variables_are_read_and_written(stage: TaskStage) -> None:
    stage.execution.variables["a.size"] = e.Variable(key="a.size", value="[3]", is_secret=False)

    ended = await stage.run_body("""
        variables.set("a.new", "x")
        variables.delete("gone")
        try:
            variables["none"]
        except NotThere as error:
            print(error.code)
        return [variables.get_json("a.size"), variables.get("none", 5), variables.keys("a.")]
    """)

    assert stage.execution.xcoms[RETURNED] == [[3], 5, ["a.new", "a.size"]]
    assert ended.log == "unknown_variable\n"


async def test_connections_are_read_and_written(stage: TaskStage) -> None:
    await stage.run_body("""
        connections.set("db", "postgres", host="h", port=5, user="u@x", password="p/w", path="d")
        db = connections["db"]
        return [db.url, repr(db), connections.names()]
    """)

    url = "postgres://u%40x:p%2Fw@h:5/d"
    shown = "Connection('db', kind='postgres', host='h')"
    assert stage.execution.xcoms[RETURNED] == [url, shown, ["db"]]


async def test_xcoms_are_pushed_and_pulled(stage: TaskStage) -> None:
    stage.execution.xcoms["other", "k"] = [1, 2, 3]

    await stage.run_body("""
        xcom.push("mine", {"a": 1})
        xcom.push("old", 1)
        xcom.delete("old")
        found = xcom.sequence("other", "k")
        return [xcom.pull("other", "k"), xcom.pull("other", default=9), found[1:], xcom.keys()]
    """)

    assert stage.execution.xcoms[RETURNED] == [[1, 2, 3], 9, [2, 3], ["mine"]]


async def test_artifacts_are_files_that_the_task_names(stage: TaskStage) -> None:
    ended = await stage.run_body("""
        artifacts.save("out/a [1].txt", "text")
        open("b.bin", "wb").write(b"x")
        artifacts.publish("b.bin")
    """)

    assert ended.artifacts == ("out/a [1].txt", "b.bin")
    assert (stage.cwd / "out" / "a [1].txt").read_text() == "text"


async def test_a_request_that_is_refused_is_an_error_in_the_task(stage: TaskStage) -> None:
    stage.execution.failures = [Forbidden("not for this run", check="scope")]

    ended = await stage.run_body("variables.get('k', 1)")

    assert ended.result.message == "AskFailed: not for this run"


async def test_a_request_waits_while_nobody_answers(stage: TaskStage) -> None:
    stage.execution.failures = [Unavailable(service="gateway"), Unavailable(service="gateway")]

    await stage.run_body("return variables.get('k', 1)")

    assert stage.execution.xcoms[RETURNED] == 1
    assert stage.execution.asked.count("get_variable") == 3


async def test_threads_of_a_task_can_all_ask(stage: TaskStage) -> None:
    await stage.run_body("""
        from concurrent.futures import ThreadPoolExecutor
        with ThreadPoolExecutor(8) as pool:
            return sorted(pool.map(lambda n: variables.get(str(n), n), range(100)))
    """)

    assert stage.execution.xcoms[RETURNED] == list(range(100))


# -- secrets ------------------------------------------------------------------------------------


async def test_secrets_are_masked_from_the_moment_they_are_read(stage: TaskStage) -> None:
    stage.execution.variables["api_token"] = e.Variable(
        key="api_token", value="t0ken-value", is_secret=False
    )
    stage.execution.variables["plain"] = e.Variable(key="plain", value="said-to-be", is_secret=True)
    stage.execution.connections["db"] = e.Connection(
        name="db", kind="x", password="hunter/22", extra={"auth": {"client_secret": "s3cret"}}
    )

    ended = await stage.run_body("""
        import os, sys
        token, plain, db = variables["api_token"], variables["plain"], connections["db"]
        mask("my own")
        os.write(1, token[:4].encode()); os.write(1, token[4:].encode()); print()
        print([plain, db.password, db.url, "my own"], db.extra)
        raise ValueError(f"cannot use {plain}")
    """)

    for secret in ("t0ken-value", "said-to-be", "hunter/22", "hunter%2F22", "my own", "s3cret"):
        assert secret not in ended.log
    assert ended.log.startswith("***\n['***', '***', ")
    assert ended.result.message == "ValueError: cannot use ***"
    assert ended.result.task == e.Fail(reason="ValueError: cannot use ***")


async def test_the_task_is_given_neither_tokens_nor_more_descriptors(stage: TaskStage) -> None:
    await stage.run_body("""
        import os
        names = [name for name in os.environ if name != "LC_CTYPE"]  # Python's own
        return [names, [os.readlink(f"/proc/self/fd/{n}")[:5] for n in range(3)]]
    """)

    assert stage.execution.xcoms[RETURNED] == [
        ["PATH", "DRAWBAR_ATTEMPT_ID"],
        ["/dev/", "pipe:", "pipe:"],
    ]


# -- ends ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "state"),
    [
        ("raise Skip('nothing new')", e.Skip(reason="nothing new")),
        ("raise Fail('never')", e.Fail(reason="never", may_retry=False)),
        ("raise Retry('locked', delay='5s')", e.Retry(reason="locked", delay_s=5.0)),
        (
            "raise Defer('delta', seconds=9, resume='later', arguments={'n': 1}, timeout=60)",
            e.Defer(
                trigger=e.TriggerSpec(kind="delta", params={"seconds": 9}),
                next_method="later",
                arguments={"n": 1},
                timeout_s=60.0,
            ),
        ),
        (
            "import datetime as d\n"
            "raise Reschedule(d.datetime(2026, 1, 1, tzinfo=d.timezone.utc), 'not yet')",
            e.Reschedule(at=datetime.fromisoformat("2026-01-01T00:00:00Z"), reason="not yet"),
        ),
        ("try: raise Skip('x')\nexcept Exception: pass", e.Skip(reason="x")),
    ],
)
async def test_a_task_can_end_in_other_ways(
    stage: TaskStage, body: str, state: e.AttemptState
) -> None:
    ended = await stage.run_body(body)

    assert ended.result.outcome is Outcome.TASK_ENDED
    assert ended.result.task == state
    assert ended.exit.exit_code == (1 if isinstance(state, e.Fail) else 0)


BROKEN = "without saying how the task ended"


@pytest.mark.parametrize(
    ("body", "outcome", "says"),
    [
        ("raise ValueError('no rows')", Outcome.TASK_ENDED, "ValueError: no rows"),
        ("raise ValueError('\\ud800')", Outcome.TASK_ENDED, "ValueError: \\ud800"),
        ("raise KeyboardInterrupt", Outcome.TASK_ENDED, "KeyboardInterrupt"),
        ("import sys; sys.exit(4)", Outcome.TASK_ENDED, "the task called sys.exit(4)"),
        ("return object()", Outcome.TASK_ENDED, "of type object, which JSON cannot say"),
        ("return lambda: 1", Outcome.TASK_ENDED, "of type function, which JSON cannot say"),
        ("return 'x' * (1 << 26)", Outcome.TASK_ENDED, "more than 4194304 bytes as JSON"),
        ("return bytes(1 << 30)", Outcome.TASK_ENDED, "of type bytes"),
        ("x = []\nfor _ in range(10**5): x = [x]\nreturn x", Outcome.TASK_ENDED, "100 levels"),
        ("def f(): return f()\nf()", Outcome.TASK_ENDED, "RecursionError"),
        ("raise MemoryError", Outcome.TASK_ENDED, "MemoryError"),
        ("import os; os._exit(0)", Outcome.TASK_BROKEN, f"exited with 0 {BROKEN}"),
        ("import os; os._exit(7)", Outcome.TASK_BROKEN, f"exited with 7 {BROKEN}"),
        ("import os; os.abort()", Outcome.TASK_BROKEN, "signal 6 (SIGABRT)"),
        ("import ctypes; ctypes.string_at(0)", Outcome.TASK_BROKEN, "signal 11 (SIGSEGV)"),
        ("import os; os.kill(os.getpid(), 9)", Outcome.TASK_BROKEN, "was there no memory left?"),
        ("import os\nif os.fork(): os._exit(3)\nwhile True: pass", Outcome.TASK_BROKEN, "with 3"),
        (
            'import os; os.write(REQUESTS, b\'{"id":1,"as\'); os._exit(0)',
            Outcome.TASK_BROKEN,
            "ended in the middle of a frame",
        ),
        ("xcom.push('k', 'x' * 5_000_000)", Outcome.TASK_ENDED, "more than 4194304 bytes"),
        ("return nothing", Outcome.TASK_ENDED, "NameError"),
    ],
)
async def test_misbehaviour_ends_with_a_clear_reason(
    stage: TaskStage, body: str, outcome: Outcome, says: str
) -> None:
    ended = await stage.run_body(body.replace("REQUESTS", REQUESTS))

    assert ended.result.outcome is outcome
    assert says in ended.result.message
    assert stage.execution.xcoms == {}


async def test_a_stack_that_is_gone_is_a_reason(stage: TaskStage) -> None:
    ended = await stage.run_body("""
        import sys
        sys.setrecursionlimit(10**9)
        deep = []
        for _ in range(10**6): deep = [deep]
        repr(deep)
    """)

    # It depends on the interpreter whether its own limit or the machine's comes first.
    assert "SIGSEGV" in ended.result.message or "RecursionError" in ended.result.message


# The private copy of descriptor 1, for a task that means harm.
REQUESTS = (
    "__import__('drawbar.sdk.current', fromlist=['_'])"
    ".ask.__globals__['_Running'].ask.__self__._requests"
)


@pytest.mark.parametrize(
    ("top", "says"),
    [
        ("raise ValueError('at import')", "cannot be imported: ValueError: at import"),
        ("import sys; sys.exit(0)", "cannot be imported: exit code 0"),
        ("import os; os._exit(9)", f"exited with 9 {BROKEN}"),
        ("import os; os.kill(os.getpid(), 11)", "signal 11 (SIGSEGV)"),
        ("import not_here", "ModuleNotFoundError: No module named 'not_here'"),
        ("del go", "module 'flow' has no function 'go'"),
    ],
)
async def test_a_module_that_cannot_be_loaded_says_why(
    stage: TaskStage, top: str, says: str
) -> None:
    ended = await stage.run_flow(f"""
        @task
        def go(): ...
        with pipeline("p"): go()
        from pathlib import Path
        if "bundles" in __file__:
            {top}
    """)

    assert says in ended.result.message


@pytest.mark.parametrize("name", ["shared", "worker", "json", "drawbar"])
async def test_a_flow_may_be_called_like_our_own_modules(stage: TaskStage, name: str) -> None:
    text = "@task\ndef go(): return __file__\nwith pipeline('p'): go()\n"

    await stage.run(stage.spec_of(text, name=f"{name}.py"))

    assert str(stage.execution.xcoms[RETURNED]).endswith(f"/{name}.py")


@pytest.mark.parametrize("name", ["shared", "worker", "jobstore"])
async def test_modules_of_a_flow_win_over_ours(stage: TaskStage, name: str) -> None:
    home = stage.folder / "flow"
    home.mkdir()
    (home / f"{name}.py").write_text("MINE = 1\n")

    await stage.run_flow(f"""
        import {name}
        @task
        def go(): return {name}.MINE
        with pipeline("p"): go()
    """)

    assert stage.execution.xcoms[RETURNED] == 1


async def test_the_working_directory_is_no_place_for_modules(stage: TaskStage) -> None:
    (stage.cwd / "drawbar.py").write_text("raise SystemExit(9)\n")
    (stage.cwd / "json.py").write_text("raise SystemExit(9)\n")

    ended = await stage.run_body("import json, drawbar; return 1")

    assert ended.result.outcome is Outcome.EXITED


async def test_modules_are_also_found_where_the_job_says(stage: TaskStage) -> None:
    (stage.folder / "lib").mkdir()
    (stage.folder / "lib" / "extra_module.py").write_text("X = 3\n")

    await stage.run_body(
        "import extra_module; return extra_module.X",
        env={"PYTHONPATH": str(stage.folder / "lib")},
    )

    assert stage.execution.xcoms[RETURNED] == 3


# -- prints -------------------------------------------------------------------------------------


async def test_whatever_a_task_writes_goes_to_the_log(stage: TaskStage) -> None:
    ended = await stage.run_body(r"""
        import ctypes, os, subprocess, sys
        print('{"id":1,"ask":"fail","reason":"printed"}')
        sys.stdout.buffer.write(b"\xff\x00 binary\n"); sys.stdout.flush()
        os.write(1, b"one\n"); os.write(2, b"two\n")
        ctypes.CDLL(None).puts(b"from C"); ctypes.CDLL(None).fflush(None)
        subprocess.run(["sh", "-c", "echo child; cat"])
        print("half a pair \ud800", file=sys.stderr)
        sys.stdout.write("no newline")
    """)

    assert ended.result.outcome is Outcome.EXITED
    assert ended.log == (
        '{"id":1,"ask":"fail","reason":"printed"}\n'
        "\ufffd\x00 binary\none\ntwo\nfrom C\nchild\nhalf a pair \\ud800\nno newline"
    )


async def test_a_large_log_is_whole(stage: TaskStage) -> None:
    ended = await stage.run_body("for n in range(50_000): print(n)")

    assert ended.log.split() == [str(n) for n in range(50_000)]


async def test_a_process_that_escapes_its_group_holds_nobody_up(stage: TaskStage) -> None:
    ended = await stage.run_body("""
        import os, time
        if os.fork() == 0:
            os.setsid()
            os.write(1, b"%d\\n" % os.getpid())
            while True: time.sleep(1)
        time.sleep(0.2)
        return 1
    """)

    with suppress(ProcessLookupError):  # it was ended with its task
        os.kill(int(ended.log), signal.SIGKILL)
    assert ended.result.outcome is Outcome.EXITED


async def test_a_forked_child_that_comes_back_says_nothing(stage: TaskStage) -> None:
    ended = await stage.run_body("""
        import os
        if child := os.fork():
            os.waitpid(child, 0)
        return child != 0
    """)

    assert ended.result.outcome is Outcome.EXITED
    assert stage.execution.xcoms[RETURNED] is True
    assert ended.log == ""


# -- frames that are none -----------------------------------------------------------------------


async def test_garbage_among_the_requests_is_answered_and_survived(stage: TaskStage) -> None:
    ended = await stage.run_body(f"""
        import os
        os.write({REQUESTS}, b"garbage\\n")
        try:
            variables.get("k")
        except AskFailed as error:
            print(error.code)
        variables.get("k", 1)
        return 1
    """)

    assert "drawbar: the task runner wrote what is no request: not a line of JSON" in ended.log
    assert "bad_request" in ended.log


async def test_a_flood_of_garbage_ends_the_task(stage: TaskStage) -> None:
    ended = await stage.run_body(f"""
        import os
        out = {REQUESTS}
        while True: os.write(out, b"garbage\\n" * 100)
    """)

    assert ended.result.message == "the task runner wrote 100 lines that are no requests"


async def test_a_frame_without_an_end_is_read_over_and_answered(stage: TaskStage) -> None:
    ended = await stage.run_body(f"""
        import os
        out = {REQUESTS}
        for _ in range(1_000): os.write(out, b"x" * 65_536)
        os.write(out, b"\\n")
        try:
            variables.get("k")
        except AskFailed as error:
            return error.code
    """)

    assert ended.result.outcome is Outcome.EXITED
    assert stage.execution.xcoms[RETURNED] == "too_large"


async def test_a_flood_of_requests_waits_for_its_answers(stage: TaskStage) -> None:
    body = f"""
        import os, time
        out = {REQUESTS}
        frame = b'{{"id":1,"ask":"get_xcom","job":"x"}}\\n'
        os.set_blocking(out, False)
        sent = 0
        try:
            while True: sent += os.write(out, frame * 1_000)
        except BlockingIOError:
            pass
        print(sent)
        time.sleep(60)
    """
    hold = asyncio.Event()
    get_xcom = stage.execution.get_xcom

    async def slow(scope: e.Scope, ask: e.GetXCom) -> e.XCom:
        await hold.wait()
        return await get_xcom(scope, ask)

    stage.execution.get_xcom = slow  # type: ignore[method-assign]  # as a service that is slow
    process, log = await stage.start(
        stage.spec_of(f"@task\ndef go():\n{body}\nwith pipeline('p'): go()\n")
    )
    waiter = asyncio.ensure_future(process.wait())
    async with asyncio.timeout(10):
        while not log.read_bytes():  # noqa: ASYNC110 - nothing tells when a process has written
            await asyncio.sleep(0.01)

    assert int(log.read_bytes()) < 1_000_000

    hold.set()
    process.kill()
    await process.reap()
    assert (await waiter).signal == signal.SIGKILL


# -- stops --------------------------------------------------------------------------------------


async def test_a_task_that_is_stopped_can_clean_up(stage: TaskStage) -> None:
    spec = stage.spec_of("""
        import time
        @task
        def go():
            try:
                print("up")
                time.sleep(60)
            except Exception:
                print("swallowed")
            finally:
                print("cleaned up")
        with pipeline("p"): go()
    """)
    process, log = await stage.start(spec)
    waiter = asyncio.ensure_future(process.wait())
    async with asyncio.timeout(10):
        while b"up" not in log.read_bytes():  # noqa: ASYNC110 - nothing tells of it
            await asyncio.sleep(0.01)

    process.terminate()
    ended = await waiter
    await process.reap()

    assert ended.signal == signal.SIGTERM
    assert log.read_bytes() == b"up\ncleaned up\n"


async def test_a_task_is_stopped_when_its_attempt_is_over(stage: TaskStage) -> None:
    stage.execution.failures = [StaleFence("another worker has the job", state="lost")]

    ended = await stage.run_body("""
        import time
        try:
            variables.get("k")
        except AskFailed:
            time.sleep(60)
    """)

    assert ended.result.outcome is Outcome.TASK_BROKEN
    assert ended.result.message == "the attempt is over: another worker has the job"
    assert "drawbar: the attempt is over" in ended.log


async def test_a_runner_that_does_not_exit_is_ended_and_its_result_stands(
    stage: TaskStage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("worker.tasks.supervisor.OVERTIME_S", 0.2)

    ended = await stage.run_body("""
        import threading, time
        threading.Thread(target=time.sleep, args=(60,)).start()
        return 5
    """)

    assert ended.exit.signal == signal.SIGKILL
    assert (ended.result.outcome, ended.result.exit_code) == (Outcome.EXITED, 0)


async def test_many_tasks_at_once_leak_no_descriptors(stage: TaskStage) -> None:
    spec = stage.spec_of("@task\ndef go(): return 1\nwith pipeline('p'): go()\n")
    await asyncio.gather(*(stage.run(spec) for _ in range(10)))  # some keepers stay for later
    before = len(os.listdir("/proc/self/fd"))

    ended = await asyncio.gather(*(stage.run(spec) for _ in range(10)))

    assert {end.result.outcome for end in ended} == {Outcome.EXITED}
    assert len(os.listdir("/proc/self/fd")) == before


# -- bundles ------------------------------------------------------------------------------------


async def test_files_are_fetched_once_and_cannot_be_changed(stage: TaskStage) -> None:
    body = """
        import os
        assert not os.access(context.folder, os.W_OK) or os.getuid() == 0
        return sorted(p.name for p in context.folder.glob('*.py'))
    """

    await stage.run_body(body)
    await stage.run_body(body)

    assert stage.execution.asked.count("read_bundle") == 1
    assert stage.execution.xcoms[RETURNED] == ["flow.py"]


async def test_files_that_are_not_there_are_named(stage: TaskStage) -> None:
    spec = stage.spec_of("@task\ndef go(): ...\nwith pipeline('p'): go()\n")
    stage.execution.bundles.clear()

    with pytest.raises(CannotStart, match="the flow's files cannot be fetched: The run has no"):
        await stage.start(spec)


async def test_files_that_arrive_damaged_are_fetched_again(stage: TaskStage) -> None:
    spec = stage.spec_of("@task\ndef go(): ...\nwith pipeline('p'): go()\n")
    assert spec.bundle is not None
    good = stage.execution.bundles[spec.bundle]
    stage.execution.bundles[spec.bundle] = good[:-1]

    def mend(ask: str) -> None:
        if stage.execution.asked.count("read_bundle") == 2:
            stage.execution.bundles[spec.bundle or ""] = good

    stage.execution.before = mend

    assert (await stage.run(spec)).result.outcome is Outcome.EXITED


async def test_an_archive_cannot_write_outside_of_its_folder(stage: TaskStage) -> None:
    import hashlib
    import io
    import zipfile

    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("../../escaped.py", "x = 1")
    packed = buffer.getvalue()
    sha256 = hashlib.sha256(packed).hexdigest()
    stage.execution.bundles[sha256] = packed
    spec = stage.spec_of("@task\ndef go(): ...\nwith pipeline('p'): go()\n")

    with pytest.raises(CannotStart, match="leads out of the working directory"):
        await stage.start(spec.model_copy(update={"bundle": sha256}))

    assert not list(stage.folder.rglob("escaped.py"))
