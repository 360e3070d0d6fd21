"""Flow files: what they draw, and what they are told when they cannot."""

import textwrap
from pathlib import Path
from typing import Any

import pytest

from drawbar import Pipeline, group, pipeline, shell, task
from drawbar.document import BadDocument, load
from drawbar.sdk.graph import FlowMistake
from shared.protocol.pipeline import JobSpec, PipelineSpec, TriggerRule


@task
def numbers(count: int) -> list[int]:
    """As many as are wanted.

    From zero on.
    """
    return list(range(count))


@task(retries=2, retry_delay="5s", timeout="2m", requires={"os": "linux"})
def square(number: int) -> int:
    return number * number


@task
def add(left: int, right: int) -> int:
    return left + right


@task(multiple_outputs=True)
def halves(number: int) -> dict[str, int]:
    return {"low": number // 2, "high": number - number // 2}


@task(trigger_rule="none_failed")
def total(numbers: list[int]) -> int:
    return sum(numbers)


def jobs_of(drawn: Pipeline) -> dict[str, Any]:
    return {
        id: (job.args, dict(job.kwargs), list(job.mapped), job.after)
        for id, job in drawn.jobs.items()
    }


def test_outside_of_a_pipeline_a_task_is_its_function() -> None:
    assert square(3) == 9
    assert square.map([1, 2, 3]) == [1, 4, 9]
    assert add.partial(right=10).map([1, 2]) == [11, 12]
    assert halves(5)["high"] == 3


def test_jobs_are_called_like_their_functions_and_numbered() -> None:
    with pipeline("p") as drawn:
        add(1, 2)
        add(3, 4)
        add.options(id="last")(5, 6)

    assert list(drawn.jobs) == ["add", "add_2", "last"]


def test_an_id_that_was_chosen_is_used_once() -> None:
    with pipeline("p"):
        add.options(id="same")(1, 2)

        with pytest.raises(FlowMistake, match="'same' is used twice"):
            add.options(id="same")(1, 2)


def test_groups_stand_before_the_ids_inside() -> None:
    with pipeline("p") as drawn, group("clean"):
        square(1)
        with group("deep"):
            square(2)

    assert list(drawn.jobs) == ["clean.square", "clean.deep.square"]


def test_positional_lists_are_mapped_by_name() -> None:
    with pipeline("p") as drawn:
        add.map([1, 2], right=range(3, 5))

    assert jobs_of(drawn)["add"] == ((), {"left": [1, 2], "right": [3, 4]}, ["left", "right"], [])


@pytest.mark.parametrize(
    ("draw", "says"),
    [
        (lambda: add(**{"left": 1}), "missing a required argument: 'right'"),
        (lambda: add.map([1], [2, 3]), "lists of different lengths: 1, 2"),
        (lambda: add.map(1, [2]), "takes a list or a result, not int"),
        (lambda: square.map(), "needs something to map over"),
        (lambda: square.map([1], [2]), "takes 1 lists, but 2 were given"),
        (lambda: bool(square(1)), "cannot be asked whether it is true"),
        (lambda: list(numbers(1)), "cannot be walked through; use task.map"),
        (lambda: numbers(1)[0], "a task with multiple_outputs=True has items by name"),
        (lambda: task(lambda: None)(), "functions only that are defined at the top"),
        (lambda: square.options(retires=2), "no option 'retires'"),
        (lambda: square.options(trigger_rule="some"), "trigger_rule is one of all_success"),
        (lambda: pipeline("q").__enter__(), "pipeline 'q' stands inside 'p'"),
    ],
)
def test_what_cannot_be_drawn_says_why(draw: Any, says: str) -> None:
    with pipeline("p"), pytest.raises(FlowMistake, match=says):
        draw()


def test_a_command_belongs_inside_a_pipeline() -> None:
    with pytest.raises(FlowMistake, match="inside `with pipeline"):
        shell("make", id="make")


def flow(tmp_path: Path, text: str, name: str = "flow.py") -> Path:
    file = tmp_path / name
    file.write_text(textwrap.dedent(text))
    return file


WHOLE = """
    from lib import numbers
    from drawbar import group, pipeline, shell, task

    @task(retries=2, timeout="2m", requires={"os": "linux"})
    def square(number):
        '''Its square.

        More words.
        '''
        return number * number

    @task(trigger_rule="none_failed", artifacts=["*.csv"])
    def total(numbers, *, unit, more):
        return sum(numbers)

    @task(multiple_outputs=True)
    def halves(number): ...

    @task.branch
    def choose(number): ...

    @task
    def late(): ...

    with pipeline("whole", params={"day": "monday"}, max_workers=3, include=["data/*.txt"]):
        print("drawing")
        found = numbers(4)
        sum_of = total(square.map(found), unit="m", more={"all": [found, 1]})
        parts = halves(sum_of)
        chosen = choose(parts["low"])
        chosen >> late()
        with group("g"):
            shell("echo hi", id="say", after=[sum_of], inputs=[sum_of])
"""


@pytest.fixture
def whole(tmp_path: Path) -> PipelineSpec:
    flow(tmp_path, "from drawbar import task\n@task\ndef numbers(n): return []\n", "lib.py")
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "a.txt").write_text("a")
    return load(flow(tmp_path, WHOLE)).spec


def job(spec: PipelineSpec, id: str) -> JobSpec:
    return next(job for job in spec.jobs if job.id == id)


def test_a_flow_file_is_loaded_as_the_pipeline_that_it_draws(whole: PipelineSpec) -> None:
    assert (whole.name, whole.max_workers, whole.params) == ("whole", 3, {"day": "monday"})
    assert {j.id: list(j.needs) for j in whole.jobs} == {
        "numbers": [],
        "square": ["numbers"],
        "total": ["square", "numbers"],
        "halves": ["total"],
        "choose": ["halves"],
        "late": ["choose"],
        "g.say": ["total"],
    }


def test_limits_of_a_task_are_those_that_a_document_has() -> None:
    with pipeline("p") as drawn:
        add.options(limits={"memory": "1.5G", "scratch": "10MB", "cpus": 0.5, "pids": 64})(1, 2)

    assert drawn.jobs["add"].options["limits"] == {
        "memory_bytes": 3 << 29,
        "scratch_bytes": 10_000_000,
        "cpus": 0.5,
        "pids": 64,
    }


@pytest.mark.parametrize(
    ("limits", "found"),
    [
        ({"memry": "2G"}, "there is no limit 'memry'; there are memory, file_size, scratch"),
        ({"memory": "2 apples"}, "limit memory is a size such as 1048576, '512M' or '1.5G'"),
        ({"pids": 1.5}, "limit pids is a whole number, not 1.5"),
        ({"cpus": "many"}, "limit cpus is a number, not 'many'"),
    ],
)
def test_a_limit_that_is_none_is_told_where_it_is_given(limits: Any, found: str) -> None:
    with pytest.raises(FlowMistake, match=found):
        add.options(limits=limits)


def test_options_of_a_task_are_those_of_its_job(whole: PipelineSpec) -> None:
    square = job(whole, "square")

    assert square.retry is not None
    assert (square.retry.max, square.timeout_s) == (2, 120.0)
    assert (square.requires, square.description) == ({"os": "linux"}, "Its square.")
    total = job(whole, "total")
    assert total.artifacts == ("*.csv",)
    assert total.task is not None
    assert total.task.trigger_rule is TriggerRule.NONE_FAILED
    assert job(whole, "g.say").command == "echo hi"
    assert job(whole, "g.say").inputs == ("total",)


def test_arguments_are_literals_or_results(whole: PipelineSpec) -> None:
    total = job(whole, "total").task
    choose = job(whole, "choose").task
    square = job(whole, "square").task

    assert total is not None
    assert total.model_dump()["args"] == (
        {"kind": "result", "job": "square", "key": "return_value", "is_mapped": True},
    )
    assert total.model_dump()["kwargs"]["more"]["items"]["all"]["items"] == (
        {"kind": "result", "job": "numbers", "key": "return_value", "is_mapped": False},
        {"kind": "literal", "value": 1},
    )
    assert choose is not None
    assert choose.model_dump()["args"][0]["key"] == "low"
    assert choose.decides == "branch"
    assert square is not None
    assert square.mapped == ("number",)


def test_the_flow_and_what_it_imports_and_includes_travel(whole: PipelineSpec) -> None:
    import io
    import zipfile
    from hashlib import sha256

    assert whole.bundle is not None
    archive = zipfile.ZipFile(io.BytesIO(whole.bundle.content))

    assert archive.namelist() == ["data/a.txt", "flow.py", "lib.py"]
    assert sha256(whole.bundle.content).hexdigest() == whole.bundle.sha256
    square, numbers = job(whole, "square").task, job(whole, "numbers").task
    assert square is not None
    assert numbers is not None
    assert (square.file, square.bundle) == ("flow.py", whole.bundle.sha256)
    assert (numbers.module, numbers.file) == ("lib", None)


def test_the_same_files_make_the_same_bundle(tmp_path: Path, whole: PipelineSpec) -> None:
    (tmp_path / "flow.py").touch()

    again = load(tmp_path / "flow.py").spec

    assert again == whole


@pytest.mark.parametrize("name", ["shared", "worker", "json", "drawbar", "a.b-c"])
def test_a_flow_may_be_called_like_our_own_modules(tmp_path: Path, name: str) -> None:
    text = "from drawbar import task, pipeline\n@task\ndef a(): ...\nwith pipeline('p'): a()\n"

    spec = load(flow(tmp_path, text, f"{name}.py")).spec

    assert spec.jobs[0].task is not None
    assert spec.jobs[0].task.file == f"{name}.py"


@pytest.mark.parametrize("name", ["shared", "worker"])
def test_a_flow_may_have_modules_called_like_our_own(tmp_path: Path, name: str) -> None:
    flow(tmp_path, "from drawbar import task\n@task\ndef mine(): ...", f"{name}.py")
    text = f"from drawbar import pipeline\nfrom {name} import mine\nwith pipeline('p'): mine()\n"

    assert [j.id for j in load(flow(tmp_path, text)).spec.jobs] == ["mine"]


HEAD = "from drawbar import task, pipeline\n@task\ndef a(x): ...\n"


@pytest.mark.parametrize(
    ("text", "line", "says"),
    [
        ("def x(:\n", 1, "invalid syntax"),
        ("import nowhere_at_all\n", 1, "ModuleNotFoundError: No module named 'nowhere_at_all'"),
        ("x = 1\n", 0, "draws no pipeline"),
        ("import os\nos._exit(3)\n", 0, "ended its interpreter (exit code 3)"),
        ("import os\nos.kill(os.getpid(), 9)\n", 0, "ended its interpreter (signal 9)"),
        ("import sys\nsys.exit(3)\n", 2, "the file ends the interpreter (exit code 3)"),
        ("def f(): f()\nf()\n", 1, "RecursionError"),
        (HEAD + "with pipeline('p'): pass\n", 4, "the pipeline has no jobs"),
        (HEAD + "with pipeline('p'):\n    a(1)\n    a()\n", 6, "missing a required argument: 'x'"),
        (
            HEAD + "with pipeline('p'):\n    a(object())\n",
            5,
            "of type object, which JSON cannot say",
        ),
        (HEAD + "with pipeline('p'):\n    y = a(1)\n    y >> a(y) >> y\n", 5, "go in a circle"),
        (HEAD + "with pipeline('p'):\n  a.options(retries=-1)(1)\n", 5, "max: must be at least 0"),
        (
            HEAD + "with pipeline('p', include=['../x']):\n  a(1)\n",
            4,
            "below the flow's own folder",
        ),
        (HEAD + "with pipeline('p', include=['x']):\n  a(1)\n", 4, "there is no such file"),
        (HEAD + "with pipeline('p'): a(1)\nwith pipeline('q'): a(1)\n", 5, "draws 2 pipelines"),
        (
            "from drawbar import pipeline, shell\nwith pipeline('p'):\n"
            "  shell('true', id='a', trigger_rule='always')\n",
            3,
            "a command cannot have the trigger rule 'always'",
        ),
        (HEAD + "with pipeline('p/q'):\n  a(1)\n", 4, "must not hold '/'"),
        (HEAD + "with pipeline('p'):\n  a.options(after=['no'])(1)\n", 5, "'no', which is not of"),
    ],
)
def test_a_mistake_of_a_flow_is_told_with_its_line(
    tmp_path: Path, text: str, line: int, says: str
) -> None:
    with pytest.raises(BadDocument) as caught:
        load(flow(tmp_path, text))

    (mistake,) = caught.value.mistakes
    assert says in mistake.message
    assert mistake.line == line


def test_a_flow_can_say_when_it_starts_and_what_a_failure_means(tmp_path: Path) -> None:
    flow = tmp_path / "nightly.py"
    flow.write_text(
        "from drawbar import pipeline, task\n@task\ndef a(): ...\n"
        "with pipeline('n', schedule='0 3 * * *', timezone='Europe/Berlin', on_error='stop'): a()\n"
    )

    spec = load(flow).spec

    assert spec.schedule is not None
    assert (spec.schedule.cron, spec.schedule.timezone) == ("0 3 * * *", "Europe/Berlin")
    assert spec.on_error == "stop"


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ("schedule='every day'", "is not a schedule"),
        ("timezone='UTC'", "timezone is that of a schedule, and there is none"),
        ("on_error='panic'", "on_error"),
    ],
)
def test_settings_of_a_flow_that_mean_nothing_are_told(
    tmp_path: Path, options: str, says: str
) -> None:
    flow = tmp_path / "nightly.py"
    flow.write_text(
        "from drawbar import pipeline, task\n@task\ndef a(): ...\n"
        f"with pipeline('n', {options}): a()\n"
    )

    with pytest.raises(BadDocument) as caught:
        load(flow)

    assert says in caught.value.format_mistakes()
