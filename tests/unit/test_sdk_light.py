"""What a task pays before its own code runs."""

import json
import subprocess
import sys

from tests.support.golden import ROOT

HEAVY = [
    "pydantic",
    "aiohttp",
    "asyncio",
    "inspect",
    "typer",
    "shared",
    "worker",
    "jobstore",
    "yaml",
]

USE = f"""
import sys
sys.path.insert(0, {str(ROOT)!r})
import time
began = time.process_time()
import drawbar
from drawbar import Skip, context, pipeline, task, variables
@task
def double(x): return 2 * x
assert double(2) == 4
took = time.process_time() - began
import json
print(json.dumps([took, sorted(sys.modules)]))
"""


def use() -> tuple[float, set[str]]:
    out = subprocess.run(
        [sys.executable, "-I", "-c", USE], capture_output=True, check=True, text=True
    ).stdout
    took, modules = json.loads(out)
    return took, set(modules)


def test_a_task_needs_no_service_and_no_heavy_library() -> None:
    _, modules = use()

    assert [name for name in HEAVY if name in modules] == []


def test_a_task_can_be_used_within_30_ms() -> None:
    assert min(use()[0] for _ in range(5)) <= 0.030  # of CPU: others may use the cores, too
