"""`drawbar run flow.py`: Python functions from the file to the result, in one process."""

from pathlib import Path

import pytest

from tests.support.cli import Command
from tests.support.golden import ROOT

pytestmark = [pytest.mark.system, pytest.mark.slow]

FLOW = ROOT / "examples" / "flow.py"


@pytest.fixture
def drawbar(tmp_path: Path) -> Command:
    return Command(tmp_path)


def statuses(drawbar: Command, *words: str | Path) -> dict[str, str]:
    run = drawbar.json("run", *words)
    return {"run": run["status"]} | {job["id"]: job["status"] for job in run["jobs"]}


def test_the_example_runs_and_its_results_flow(drawbar: Command) -> None:
    found = statuses(drawbar, FLOW)

    assert found == {
        "run": "success",
        "numbers": "success",
        "square": "success",
        **{f"square[{n}]": "success" for n in range(5)},
        "total": "success",
        "judge": "success",
        "report.many": "success",
        "report.few": "skipped",
        "done": "success",
    }
    assert drawbar.run("logs", "1", "total").stdout == "adding up [0, 1, 4, 9, 16]\n"
    assert drawbar.run("logs", "1", "report.many").stdout == "many: {'sum': 30, 'most': 16}\n"


def test_parameters_are_given_on_the_command_line(drawbar: Command) -> None:
    found = statuses(drawbar, FLOW, "--param", "count=2")

    assert (found["report.many"], found["report.few"]) == ("skipped", "success")
    assert "square[2]" not in found


def test_a_parameter_that_the_flow_does_not_have_is_a_mistake(drawbar: Command) -> None:
    done = drawbar.run("run", FLOW, "--param", "cuont=2")

    assert done.returncode == 2
    assert "there is no parameter 'cuont' (did you mean 'count'?)" in done.stderr


def test_a_flow_is_validated_drawn_and_planned_without_running(drawbar: Command) -> None:
    valid = drawbar.run("validate", FLOW)
    graph = drawbar.json("graph", FLOW)
    plan = drawbar.run("run", "--dry-run", FLOW)

    assert "flow is good: 7 jobs" in valid.stdout
    assert graph["layers"][0] == ["numbers"]
    assert "$ flow:square for each of number" in plan.stdout


def test_a_task_that_fails_is_told_with_its_reason_and_its_log(drawbar: Command) -> None:
    text = (
        "from drawbar import pipeline, task\n"
        "@task\ndef broken():\n    raise ValueError('no rows')\n"
        "with pipeline('p'): broken()\n"
    )

    done = drawbar.run("run", drawbar.write("bad.py", text))

    assert done.returncode == 1
    assert "ValueError: no rows" in done.stdout


def test_a_run_that_failed_goes_on_where_it_failed(drawbar: Command) -> None:
    text = """
from pathlib import Path
from drawbar import pipeline, task
@task
def first(): return [1, 2]
@task
def each(x): return x * 10
@task
def last(xs):
    assert Path("mended").exists()
    print(list(xs))
with pipeline("p"): last(each.map(first()))
"""
    file = drawbar.write("p.py", text)
    assert drawbar.run("run", file).returncode == 1
    drawbar.write("mended", "")

    found = statuses(drawbar, file, "--resume", "1")

    assert found == {
        "run": "success",
        "first": "success",
        "each": "success",
        "last": "success",
    }
    assert drawbar.run("logs", "2", "last").stdout == "[10, 20]\n"


def test_variables_are_kept_from_run_to_run_and_masked(drawbar: Command) -> None:
    text = """
from drawbar import pipeline, task, variables
@task
def keep():
    seen = variables.get("api_token", "none")
    print("seen", seen)
    variables.set("api_token", "hunter22", is_secret=True)
with pipeline("p"): keep()
"""
    file = drawbar.write("p.py", text)

    for _ in range(2):
        assert drawbar.run("run", file).returncode == 0

    assert drawbar.run("logs", "1", "keep").stdout == "seen none\n"
    assert drawbar.run("logs", "2", "keep").stdout == "seen ***\n"
    assert (drawbar.data / "keys" / "secrets.key").stat().st_mode & 0o077 == 0


def test_a_mapped_task_is_shown_as_the_jobs_that_it_became(drawbar: Command) -> None:
    drawbar.run("run", FLOW)
    [mapped] = [line for line in drawbar.run("show", "1").stdout.splitlines() if "square " in line]

    assert mapped.split() == ["square", "✔", "success", "5", "jobs"]
