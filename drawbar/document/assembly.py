"""Nodes → PipelineSpec: fields are read, stages and jobs placed, bounds and rules checked.

Whatever could be read goes on to the next check even when its neighbour could not, so that one
pass finds every mistake.
"""

from collections.abc import Mapping as Dict
from dataclasses import dataclass, field
from typing import Any

from pydantic import ValidationError

from drawbar.document import readers
from drawbar.document.bounds import in_words
from drawbar.document.fields import JOB, PIPELINE, STAGE, Read, read_mapping
from drawbar.document.mistakes import Path, Report
from drawbar.document.nodes import Mapping, Node, Scalar, Sequence
from drawbar.document.readers import BAD
from shared.pipeline_rules import find_mistakes
from shared.protocol.pipeline import JobSpec, PipelineSpec, RetryRule

_STAND_IN = JobSpec(id="-", command="-")  # lets a pipeline be checked whose jobs are not good


@dataclass(slots=True)
class _Job:
    """A job of the document: where it stands, what it says, and what came of it."""

    path: Path
    node: Mapping
    read: Read
    spec: JobSpec  # unchecked, when mistakes were reported
    is_good: bool


@dataclass(slots=True)
class _Stages:
    names: list[str] = field(default_factory=list)
    nodes: list[Node] = field(default_factory=list)
    nested: list[tuple[str | None, Node, Path]] = field(
        default_factory=list
    )  # stage, its jobs, where
    are_good: bool = True


def assemble(root: Mapping, report: Report, *, name: str) -> PipelineSpec | None:
    """The pipeline, called `name` unless it has one; None when mistakes were reported."""
    top = read_mapping(root, PIPELINE, (), report)
    base = _retry(top, (), report)
    stages = _read_stages(top, report)
    jobs = _read_jobs(top, stages, base, report)
    if "jobs" not in top.nodes and not stages.nested:
        report.add(root, (), "the pipeline has no jobs")
    values = {
        "name": name,
        **{k: v for k, v in top.values.items() if k in PipelineSpec.model_fields},
        "retry": RetryRule.model_construct(**base),
        "stages": tuple(stages.names),
        "jobs": tuple(job.spec for job in jobs if job.is_good) or (_STAND_IN,),
    }
    if top.values.get("parallel") is False:
        values["max_workers"] = 1
    spec = None
    try:
        spec = PipelineSpec.model_validate(values)
    except ValidationError as error:
        listed = Sequence(root.line, root.column)
        listed.items = stages.nodes
        top.nodes["stages"] = listed
        _report_bounds(error, root, top, (), report)
    _report_rules(jobs, stages, report)
    return spec if report.is_clean else None


def _read_stages(top: Read, report: Report) -> _Stages:
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
            where = read.nodes.get("name", item)
            if "jobs" in read.values:
                inside = None if stage is BAD else stage
                stages.nested.append((inside, read.values["jobs"], (*path, "jobs")))
        elif isinstance(item, Scalar):
            stage = readers.text(item, path, report)
        else:
            stage = readers.expected("names, or mappings of name and jobs", item, path, report)
        if stage is BAD:
            stages.are_good = False
        else:
            stages.names.append(stage)
            stages.nodes.append(where)
    return stages


def _read_jobs(top: Read, stages: _Stages, base: Dict[str, Any], report: Report) -> list[_Job]:
    groups: list[tuple[str | None, Node, Path]] = [*stages.nested]
    if "jobs" in top.values:
        groups.append((None, top.values["jobs"], ("jobs",)))
    jobs = []
    for stage, node, path in groups:
        if not isinstance(node, Sequence):
            readers.expected("a list of jobs", node, path, report)
            continue
        if not node.items and path == ("jobs",):
            report.add(node, path, "the pipeline has no jobs")
        for i, item in enumerate(node.items):
            if isinstance(item, Mapping):
                jobs.append(_read_job(item, (*path, i), stage, top, base, report))
            else:
                readers.expected("a mapping with id and command", item, (*path, i), report)
    return jobs


def _read_job(
    node: Mapping,
    path: Path,
    stage: str | None,
    top: Read,
    base: Dict[str, Any],
    report: Report,
) -> _Job:
    read = read_mapping(node, JOB, path, report)
    own = _retry(read, path, report)
    values = {k: v for k, v in read.values.items() if not k.startswith("retry")}
    name = values.get("id")
    called = "the job" if name is None else f"job {name[:100]!r}"
    if "id" not in read.nodes:
        report.add(node, path, "the job has no id")
    if stage is not None:
        if values.setdefault("stage", stage) != stage:
            message = f"{called} stands in stage {stage!r}, but names {values['stage']!r}"
            report.add(read.nodes["stage"], (*path, "stage"), message)
        values["stage"] = stage
    if "working_dir" in top.values:
        values.setdefault("working_dir", top.values["working_dir"])
    if own:
        values["retry"] = RetryRule.model_construct(**{**base, **own})
    given = [n for n in ("command", "script", "argv") if n in read.nodes and values.get(n, BAD)]
    if len(given) != 1:
        said = " and ".join(given) or "none of them"
        message = f"{called}: give exactly one of command, script or argv (found {said})"
        report.add(node, path, message)
    try:
        return _Job(path, node, read, JobSpec.model_validate(values), is_good=True)
    except ValidationError as error:
        _report_bounds(error, node, read, path, report, outer=top)
        rest = {k: values[k] for k in ("needs", "inputs", "stage") if k in values}
        spec = JobSpec.model_construct(id=name if name is not None else "", **rest)
    return _Job(path, node, read, spec, is_good=False)


def _retry(read: Read, path: Path, report: Report) -> dict[str, Any]:
    """The retry settings that a mapping gives itself, in its block or one by one; all in bounds."""
    values: dict[str, Any] = dict(read.values.get("retry", {}))
    for place, value in read.values.items():
        block, _, setting = place.partition(".")
        if block != "retry" or not setting:
            continue
        name = read.names[place]
        if setting in values:
            message = f"{name!r} is given in the retry block, too; give one"
            report.add(read.nodes[place], (*path, name), message)
        values[setting] = value
    try:
        rule = RetryRule.model_validate(values)
    except ValidationError as error:
        for problem in error.errors():
            setting = str(problem["loc"][0])
            flat = read.names.get(f"retry.{setting}")
            if flat is None:
                name = setting.removesuffix("_s")
                node = _child(read.nodes["retry"], name, wants_key=False)
                report.add(node, (*path, "retry", name), f"retry.{name}: {in_words(problem)}")
            else:
                node = read.nodes[f"retry.{setting}"]
                report.add(node, (*path, flat), f"{flat}: {in_words(problem)}")
            values.pop(setting, None)
        return values
    return {setting: getattr(rule, setting) for setting in values}


def _report_bounds(
    error: ValidationError,
    node: Mapping,
    read: Read,
    path: Path,
    report: Report,
    outer: Read | None = None,
) -> None:
    """What the canonical model refuses (lengths, ranges, characters), at the node it came from."""
    for problem in error.errors():
        place, *rest = problem["loc"] or ("",)
        field_ = str(place)
        at = read.nodes.get(field_) or (outer.nodes.get(field_) if outer else None)
        if at is None:
            # What is missing, and what to run, was reported when the job was read.
            if problem["type"] not in ("missing", "value_error"):
                report.add(node, path, f"{field_}: {in_words(problem)}")
            continue
        name = read.names.get(field_, field_)
        keyed = [p for p in rest if p != "[key]"]
        for part in keyed if not report.is_full else ():  # each step searches a mapping
            at = _child(at, part, wants_key="[key]" in rest)
        what = f"{name}: {keyed[0]!r}" if field_ in ("env", "requires") and keyed else name
        report.add(at, (*path, name, *keyed), f"{what}: {in_words(problem)}")


def _child(node: Node, part: str | int, *, wants_key: bool) -> Node:
    if isinstance(node, Mapping):
        for key, value in node.pairs:
            if key.text == part:
                return key if wants_key else value
    elif isinstance(part, int) and isinstance(node, Sequence) and part < len(node.items):
        return node.items[part]
    return node


def _report_rules(jobs: list[_Job], stages: _Stages, report: Report) -> None:
    """Duplicates, unknown names and circles, among whatever could be read."""
    named = [job for job in jobs if job.spec.id]
    lines: dict[str, int] = {}
    for job in named:
        lines.setdefault(job.spec.id, job.read.nodes["id"].line)
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
        at = job.read.nodes.get(str(place), job.node)
        if index and isinstance(index[0], int):
            at = readers.items_of(at)[index[0]]
        name = job.read.names.get(str(place), str(place))
        see = f" (see line {lines[job.spec.id]})" if place == "id" else ""
        report.add(at, (*job.path, name, *index), mistake.message + see)
