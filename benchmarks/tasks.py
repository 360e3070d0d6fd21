"""Python tasks: a function that does nothing, values that travel, a function over many items."""

import textwrap
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Final

from benchmarks.fleets import Fleet
from benchmarks.measures import submit, until_ended
from drawbar.document import load
from drawbar.embedded import Embedded
from shared.ids import JobId
from shared.protocol.pipeline import PipelineSpec
from shared.runtime import SystemRuntime

NO_OPS: Final = 50
ROUND_TRIPS: Final = 1_000  # half of them leave a value durably, half read one
ITEMS: Final = 1_000

NO_OP: Final = """
    from drawbar import pipeline, task

    @task
    def nothing(): ...

    with pipeline("nothing"): nothing()
"""
XCOMS: Final = f"""
    import time
    from drawbar import pipeline, task, xcom

    @task
    def travel():
        began = time.perf_counter()
        for n in range({ROUND_TRIPS // 2}):
            xcom.push("value", n)
            assert xcom.pull("travel", "value") == n
        print(time.perf_counter() - began)

    with pipeline("travel"): travel()
"""
MAPPED: Final = f"""
    from drawbar import pipeline, task

    @task
    def numbers(): return list(range({ITEMS}))

    @task
    def square(number): return number * number

    @task
    def total(squares): assert sum(squares) == {sum(n * n for n in range(ITEMS))}

    with pipeline("squares"): total(square.map(numbers()))
"""


@asynccontextmanager
async def embedded(folder: Path, slots: int, *, is_warm: bool) -> AsyncIterator[Fleet]:
    """As `drawbar run` has it, where each task starts cold unless it `is_warm`."""
    system = Embedded(folder, SystemRuntime(), slots=slots, is_warm=is_warm)
    await system.start()
    try:
        yield Fleet(system.jobs)
    finally:
        await system.stop()


def flow(folder: Path, text: str) -> PipelineSpec:
    """The pipeline that this flow draws."""
    file = folder / "flow.py"
    file.write_text(textwrap.dedent(text))
    return load(file).spec


async def no_op_ms(fleet: Fleet, pipeline: PipelineSpec) -> float:
    """The median of one after the other, from the submit to the end of the run, as stored."""
    taken = []
    for _ in range(NO_OPS):
        began = datetime.now(UTC)
        await submit(fleet, pipeline)
        run = await until_ended(fleet, look_every_s=0.01)
        assert run.ended_at is not None
        taken.append((run.ended_at - began).total_seconds() * 1_000)
    return median(taken)


async def round_trips_s(fleet: Fleet, pipeline: PipelineSpec) -> float:
    """As the task itself has measured it."""
    await submit(fleet, pipeline)
    run = await until_ended(fleet, look_every_s=0.1)
    log = fleet.jobs.read_log(run.run_id, JobId("travel"), attempt=None, offset=0, follow=False)
    return float(b"".join([piece async for piece in log]))
