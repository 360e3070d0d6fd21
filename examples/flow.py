"""Python functions as jobs: a list of numbers, squared side by side, added up, and judged.

drawbar run examples/flow.py --param count=5
"""

from drawbar import context, group, pipeline, shell, task, xcom


@task
def numbers() -> list[int]:
    """As many as the parameter `count` says."""
    return list(range(context.params["count"]))


@task(retries=2, retry_delay="1s", timeout="1m")
def square(number: int) -> int:
    return number * number


@task(multiple_outputs=True)
def total(squares: list[int]) -> dict[str, int]:
    """Runs once all squares are there."""
    print("adding up", list(squares))
    return {"sum": sum(squares), "most": max(squares, default=0)}


@task.branch
def judge(found: int) -> str:
    return "report.many" if found > 20 else "report.few"


@task
def many() -> None:
    print("many:", xcom.pull("total"))


@task
def few() -> None:
    print("few:", xcom.pull("total"))


with pipeline("flow", params={"count": 5}):
    result = total(square.map(numbers()))
    choice = judge(result["sum"])
    with group("report"):
        ways = [many.options(after=[choice])(), few.options(after=[choice])()]
    shell("echo done", id="done", after=ways, trigger_rule="all_done")
