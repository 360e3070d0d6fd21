"""Nodes → PipelineSpec: fields are read, stages and jobs placed, bounds and rules checked.

Whatever could be read goes on to the next check even when its neighbour could not, so that one
pass finds every mistake.
"""

from collections.abc import Mapping as Dict
from dataclasses import dataclass, field
from typing import Any, Final

from pydantic import ValidationError

from drawbar.document import blocks, readers
from drawbar.document.checks import note_doubts
from drawbar.document.dialects import Defaults
from drawbar.document.environment import Environment
from drawbar.document.fields import PIPELINE, STAGE
from drawbar.document.jobs import Job, Jobs, node_of
from drawbar.document.mistakes import Path, Report
from drawbar.document.nodes import Mapping, Node, Scalar, Sequence
from drawbar.document.params import Value, read_params
from drawbar.document.readers import BAD
from drawbar.document.tables import Read, read_mapping
from drawbar.document.templates import Budget, Templates
from shared.pipeline_rules import find_mistakes
from shared.protocol.pipeline import JobSpec, OnError, PipelineSpec

_STAND_IN: Final = JobSpec(id="-", command="-")  # lets a pipeline be checked without good jobs
_CHECKED_OUT: Final = {"repository": "DRAWBAR_REPOSITORY", "branch": "DRAWBAR_BRANCH"}


@dataclass(slots=True)
class _Stages:
    names: list[str] = field(default_factory=list)
    nodes: list[Node] = field(default_factory=list)
    nested: list[tuple[str | None, Node, Path]] = field(
        default_factory=list
    )  # stage, its jobs, where
    are_good: bool = True


@dataclass(frozen=True, slots=True)
class Wishes:
    """What stands outside of the document: its name if it has none, and the command line."""

    name: str
    params: Dict[str, str]
    env: Dict[str, str]
    defaults: Defaults
    has_templates: bool = True


def assemble(root: Mapping, wishes: Wishes, report: Report) -> PipelineSpec | None:
    """The pipeline; None when mistakes were reported."""
    params = read_params(_node(root, "params"), wishes.params, report)
    budget = Budget(report)
    templates = Templates(params, budget, report, are_used=wishes.has_templates)
    top = read_mapping(_filled(root, templates), PIPELINE, (), report)
    values = _settings(top, params, wishes, report)
    environment = Environment(values["env"], wishes.env, top, budget, report)
    stages = _read_stages(top, templates, report)
    limits = blocks.read_limits(top, (), report)
    container = blocks.read_container(top, (), report)
    reading = Jobs(top, values["retry"], limits, container, templates, report)
    _read_jobs(top, stages, reading, report)
    jobs = reading.finish(environment)
    if "jobs" not in top.nodes and not stages.nested:
        report.add(root, (), "the pipeline has no jobs")
    values["env"] = environment.pipeline
    values["stages"] = tuple(stages.names)
    values["jobs"] = tuple(job.spec for job in jobs if job.is_good) or (_STAND_IN,)
    spec = None
    try:
        spec = PipelineSpec.model_validate(values)
    except ValidationError as error:
        listed = Sequence(root.line, root.column)
        listed.items = stages.nodes
        top.nodes["stages"] = listed
        blocks.report_bounds(error, root, top, (), report)
    _report_rules(jobs, stages, report)
    note_doubts(jobs, has_plugins=bool(top.values.get("plugins")), report=report)
    return spec if report.is_clean else None


def _node(root: Mapping, name: str) -> Node | None:
    for key, value in root.pairs:
        if key.text == name and not (isinstance(value, Scalar) and value.is_nothing):
            return value
    return None


def _filled(root: Mapping, templates: Templates) -> Mapping:
    """Without the templates of its own fields; those of stages and jobs are filled in later."""
    whole = Mapping(root.line, root.column)
    for key, value in root.pairs:
        if key.text in PIPELINE.fields and key.text not in ("params", "stages", "jobs"):
            value = templates.fill(value, (key.text,))
        whole.pairs.append((key, value))
    return whole


def _settings(
    top: Read, params: Dict[str, Value], wishes: Wishes, report: Report
) -> dict[str, Any]:
    """What the pipeline says of itself, and the defaults of its dialect."""
    retry = blocks.read_retry(top, (), report)
    values = {
        "name": wishes.name,
        **{k: v for k, v in top.values.items() if k in PipelineSpec.model_fields},
        "env": {**top.values.get("env", {})},
        "retry": wishes.defaults.retry.model_copy(update=retry),
        "on_error": _on_error(top, wishes.defaults, report),
        "params": {name: value.typed for name, value in params.items()},
        "security": blocks.read_security(top, report),
        "notify": blocks.read_notify(top, report),
    }
    if not top.values.get("parallel", wishes.defaults.is_parallel):
        values["max_workers"] = 1
    if "log_dir" in top.nodes:
        kept = "the job service keeps the logs: drawbar logs RUN JOB"
        report.note(top.nodes["log_dir"], ("log_dir",), f"log_dir has no effect: {kept}")
    for place, variable in _CHECKED_OUT.items():
        if place in top.values:
            values["env"].setdefault(variable, top.values[place])
            where = f"nothing is checked out, jobs find it in ${variable}"
            report.note(top.nodes[place], (place,), f"{place}: {where}")
    return values


def _on_error(top: Read, defaults: Defaults, report: Report) -> OnError:
    """Of the three ways to say it."""
    said = {p for p in ("on_error", "continue_on_error", "fail_fast") if p in top.nodes}
    wanted = {OnError.CANCEL} if top.values.get("fail_fast") else set()
    if "on_error" in top.values:
        wanted.add(top.values["on_error"])
    if "continue_on_error" in top.values and not (
        "fail_fast" in said and not top.values["continue_on_error"]
    ):
        goes_on = top.values["continue_on_error"]
        wanted.add(OnError.CONTINUE if goes_on else OnError.STOP)
    if len(wanted) > 1:
        last = [p for p in top.nodes if p in said][-1]
        name = top.names[last]
        others = " and ".join(sorted(top.names[p] for p in said - {last}))
        report.add(top.nodes[last], (name,), f"{name}: contradicts {others}; give one")
    return min(wanted) if wanted else defaults.on_error


def _read_stages(top: Read, templates: Templates, report: Report) -> _Stages:
    """Both shapes: names beside a flat list of jobs, and {name, jobs} with jobs inside."""
    stages = _Stages()
    node = top.values.get("stages")
    if node is None:
        return stages
    if not isinstance(node, Sequence):
        readers.expected("a list of stages", node, ("stages",), report)
        stages.are_good = False
        return stages
    for i, item in enumerate(node.items):
        path: Path = ("stages", i)
        where: Node = item
        if isinstance(item, Mapping):
            read = read_mapping(item, STAGE, path, report)
            stage = read.values.get("name", BAD)
            if "name" not in read.nodes:
                report.add(item, path, "the stage has no name")
            else:
                where = templates.fill(read.nodes["name"], (*path, "name"))
                stage = where.text if isinstance(where, Scalar) else BAD
            if "jobs" in read.values:
                inside = None if stage is BAD else stage
                stages.nested.append((inside, read.values["jobs"], (*path, "jobs")))
        elif isinstance(item, Scalar):
            stage = readers.text(templates.fill(item, path), path, report)
        else:
            stage = readers.expected("names, or mappings of name and jobs", item, path, report)
        if stage is BAD:
            stages.are_good = False
        else:
            stages.names.append(stage)
            stages.nodes.append(where)
    return stages


def _read_jobs(top: Read, stages: _Stages, jobs: Jobs, report: Report) -> None:
    groups: list[tuple[str | None, Node, Path]] = [*stages.nested]
    if "jobs" in top.values:
        groups.append((None, top.values["jobs"], ("jobs",)))
    for stage, node, path in groups:
        if not isinstance(node, Sequence):
            readers.expected("a list of jobs", node, path, report)
            continue
        if not node.items and path == ("jobs",) and not stages.nested:
            report.add(node, path, "the pipeline has no jobs")
        for i, item in enumerate(node.items):
            if isinstance(item, Mapping):
                jobs.read(item, (*path, i), stage)
            else:
                readers.expected("a mapping with id and command", item, (*path, i), report)


def _report_rules(jobs: list[Job], stages: _Stages, report: Report) -> None:
    """Duplicates, unknown names and circles, among whatever could be read."""
    named = [job for job in jobs if job.spec.id]
    first: dict[str, Job] = {}
    for job in named:
        first.setdefault(job.spec.id, job)
    pipeline = PipelineSpec.model_construct(
        name="", stages=tuple(stages.names), jobs=tuple(job.spec for job in named)
    )
    for mistake in find_mistakes(pipeline):
        kind, i, *rest = mistake.path
        assert isinstance(i, int), "rules speak of items"
        if kind == "stages":
            report.add(stages.nodes[i], mistake.path, mistake.message)
            continue
        job = named[i]
        about_stage = rest == ["stage"] or not rest
        stage_is_bad = not stages.are_good or "stage" in job.read.nodes.keys() - job.read.values
        if about_stage and stage_is_bad:
            continue  # follows from a mistake that is reported already
        if not rest:
            report.add(job.node, job.path, mistake.message)
            continue
        place, *index = rest
        item = index[0] if index and isinstance(index[0], int) else None
        at, path = node_of(job, str(place), item)
        see = ""
        if place == "id":
            there = first[job.spec.id].read.nodes["id"]
            see = f" (see {report.see(there, at)})"
        report.add(at, path, mistake.message + see)
