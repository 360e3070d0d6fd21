"""Python functions as tasks: what they return, ask for, and leave."""

import pytest

from shared.errors import Forbidden, Unavailable
from shared.protocol import execution as e
from shared.protocol.gateway import Outcome
from tests.support.tasks import RETURNED, TaskStage

pytestmark = pytest.mark.slow


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
    *_, where, what = [line for line in ended.log.splitlines() if "^" not in line]
    assert (where.strip(), what) == (
        "variables.get('k', 1)",
        "drawbar.sdk.current.AskFailed: not for this run",
    )


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
