"""Tasks that wait without a worker: for a while, for a person, for a file, for each other.

drawbar run examples/waiting.py
drawbar questions                       # in another terminal
drawbar answer RUN deploy yes --set why="seen by ops"
"""

import tempfile
from pathlib import Path
from typing import Any

from drawbar import Defer, context, pipeline, task, triggers, xcom


@task
def cool_down() -> None:
    """The slot is free while it waits, and no try is spent."""
    raise Defer(triggers.after("2s"), resume=cooled_down)


def cooled_down(event: dict[str, Any]) -> str:
    print("woken at", event["at"])
    return "cool"


@task(retries=1)
def deploy(state: str) -> None:
    print("it is", state)
    xcom.push("asked_by", context.attempt_id)
    raise Defer(
        triggers.question(
            "Deploy to production?",
            choices=["yes", "no"],
            fields=[triggers.field("why", label="for the record", default="")],
        ),
        resume=decided,
        arguments={"version": "1.2"},
        timeout="20s",
        on_timeout=nobody_cared,
    )


def decided(event: dict[str, Any], version: str) -> str:
    print(event["by"], "says", event["choice"], event["values"]["why"])
    if event["choice"] == "yes":
        return version
    return "kept"


def nobody_cared(event: dict[str, Any], version: str) -> str:
    print("no answer within", event["timed_out_after_s"], "s: nothing is deployed")
    return "kept"


@task
def write_report(version: str) -> str:
    path = Path(tempfile.gettempdir(), f"drawbar-waiting-{context.run_id}.txt")
    path.write_text(f"deployed: {version}\n")
    return str(path)


@task
def watch(run: int) -> None:
    """It began at once, and waits until the other job has ended."""
    raise Defer(triggers.job_ended("write_report"), resume=look)


def look(event: dict[str, Any]) -> None:
    path = Path(tempfile.gettempdir(), f"drawbar-waiting-{event['run_id']}.txt")
    raise Defer(triggers.file(path), resume=seen, timeout="1m")


def seen(event: dict[str, Any]) -> None:
    print(event["path"], "has", event["size_bytes"], "bytes")
    Path(event["path"]).unlink()


with pipeline("waiting"):
    write_report(deploy(cool_down()))
    watch(0)
