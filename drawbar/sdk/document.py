"""A drawn pipeline → the canonical document, as a plain dictionary. Checked by whoever reads it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import PurePath
from typing import Any

from drawbar.sdk.bundle import Bundle
from drawbar.sdk.graph import FlowMistake, Job, Pipeline, Result, results_in
from drawbar.sdk.tasks import Task
from drawbar.sdk.values import BadValue, check

_COPIED = (
    *("timeout_s", "queue_timeout_s", "requires", "env", "working_dir", "artifacts", "priority"),
    *("slots", "allow_failure", "lock", "approve", "retry", "image", "container", "limits"),
)

_RULES_OF_COMMANDS = {"all_success": "on_success", "all_done": "always"}


class Misplaced(Exception):
    """A mistake of one job; `line` is where it was called."""

    def __init__(self, line: int, message: str) -> None:
        self.line = line
        super().__init__(message)


def document_of(pipeline: Pipeline, bundle: Bundle) -> dict[str, Any]:
    """Misplaced: a job cannot be written down."""
    jobs = []
    for job in pipeline.jobs.values():
        try:
            jobs.append(_job(job, pipeline, bundle))
        except (FlowMistake, BadValue) as mistake:
            raise Misplaced(job.line, str(mistake)) from None
    packed = {"sha256": bundle.sha256, "content": bundle.content}
    return {"name": pipeline.name, **pipeline.settings, "bundle": packed, "jobs": jobs}


def _job(job: Job, pipeline: Pipeline, bundle: Bundle) -> dict[str, Any]:
    options = job.options
    inputs = [_id_of(given) for given in options.get("inputs") or ()]
    needs = dict.fromkeys([*_needs(job), *inputs])
    for name in needs:
        if name not in pipeline.jobs:
            raise FlowMistake(f"{job.id!r} uses {name!r}, which is not of this pipeline")
    written: dict[str, Any] = {"id": job.id}
    written |= {name: options[name] for name in _COPIED if options.get(name)}
    if needs:
        written["needs"] = list(needs)
    if inputs:
        written["inputs"] = inputs
    if job.task is None:
        rule = options.get("trigger_rule") or "all_success"
        if rule not in _RULES_OF_COMMANDS:
            raise FlowMistake(f"{job.id!r}: a command cannot have the trigger rule {rule!r}")
        return {**written, "command": job.command, "when": _RULES_OF_COMMANDS[rule]}
    if job.task.__doc__:
        written["description"] = job.task.__doc__.strip().partition("\n")[0]
    return {**written, "task": _task(job, job.task, bundle)}


def _task(job: Job, task: Task[..., Any], bundle: Bundle) -> dict[str, Any]:
    written: dict[str, Any] = {
        "module": task.__module__,
        "function": task.__qualname__,
        "bundle": bundle.sha256,
    }
    if (file := bundle.file_of(task.__module__)) is not None:
        written["file"] = file
    if job.args:
        written["args"] = [_argument(value) for value in job.args]
    if job.kwargs:
        written["kwargs"] = {name: _argument(value) for name, value in job.kwargs.items()}
    if job.mapped:
        written["mapped"] = list(job.mapped)
    for name in ("multiple_outputs", "trigger_rule"):
        if job.options.get(name):
            written[name] = job.options[name]
    if task.decides is not None:
        written["decides"] = task.decides
    if job.group is not None:
        written["group"] = job.group
    return written


def _argument(value: object) -> dict[str, Any]:
    if isinstance(value, Result):
        written: dict[str, Any] = {"kind": "result", "job": value.job_id}
        if value.key != "return_value":
            written["key"] = value.key
        if value.is_mapped:
            written["is_mapped"] = True
        return written
    if next(results_in(value), None) is not None:
        if isinstance(value, Mapping):
            items = {str(key): _argument(item) for key, item in value.items()}
            return {"kind": "mapping", "items": items}
        assert isinstance(value, list | tuple), "nothing else is looked into"
        return {"kind": "list", "items": [_argument(item) for item in value]}
    if isinstance(value, PurePath):
        value = str(value)
    return {"kind": "literal", "value": check(value)}


def _needs(job: Job) -> Iterator[str]:
    for value in (*job.args, *job.kwargs.values()):
        for result in results_in(value):
            yield result.job_id
    yield from job.after
    for given in job.options.get("after") or ():
        yield _id_of(given)


def _id_of(given: object) -> str:
    if isinstance(given, Result):
        return given.job_id
    if isinstance(given, str):
        return given
    raise FlowMistake(f"expected what the call of a task returned, or a job's id, found {given!r}")
