"""Jobs of a document: read, written out by their matrix, given their environment, checked."""

import re
from collections.abc import Iterator
from collections.abc import Mapping as Dict
from dataclasses import dataclass
from itertools import product
from math import prod
from typing import Any, Final

from pydantic import ValidationError

from drawbar.document.blocks import read_container, read_limits, read_retry, report_bounds
from drawbar.document.environment import Environment
from drawbar.document.fields import JOB
from drawbar.document.kinds import MATRIX
from drawbar.document.mistakes import Path, Report
from drawbar.document.nodes import Mapping, Node, Scalar
from drawbar.document.readers import BAD, items_of
from drawbar.document.tables import Read, read_mapping
from drawbar.document.templates import Templates
from shared.protocol.pipeline import (
    MAX_JOBS,
    ContainerSpec,
    JobSpec,
    Limits,
    LiteralArgument,
    RetryRule,
    TaskSpec,
    When,
)

MAX_NEEDS: Final = 1_000_000  # of all jobs, written out

_RUN: Final = ("command", "script", "argv", "python")
_INHERITED: Final = ("working_dir", "image")  # of the pipeline, for jobs that name none


@dataclass(slots=True)
class Job:
    """A job of the pipeline: where it stands, what it says, and what came of it."""

    path: Path
    node: Mapping
    read: Read
    spec: JobSpec  # unchecked, when mistakes were reported
    is_good: bool
    # Of each of its needs, and of its inputs, the item of the document that it was made of.
    origins: Dict[str, list[int]] | None = None


@dataclass(slots=True)
class _Draft:
    """A job that was read, before it is known which jobs others are written out as."""

    path: Path
    node: Mapping
    read: Read
    values: dict[str, Any]


class Jobs:
    """Reads jobs one after another; `finish` gives them all."""

    def __init__(
        self,
        top: Read,
        retry: RetryRule,
        limits: dict[str, Any],
        container: dict[str, Any],
        templates: Templates,
        report: Report,
    ) -> None:
        self._top = top
        self._retry = retry  # the pipeline's, which jobs build upon
        self._limits = limits  # likewise
        self._container = container  # likewise
        self._templates = templates
        self._report = report
        self._drafts: list[_Draft] = []
        self._written_out: dict[str, list[str]] = {}  # the ids that one with a matrix became
        self._is_full = False

    def read(self, node: Mapping, path: Path, stage: str | None) -> None:
        """One job of the document; `stage` is that within which it stands."""
        written_out = self._axes(node, path)
        if written_out is None:
            self._draft(node, self._filled(node, path, None), path, stage, {})
            return
        node, axes = written_out
        count = prod(len(values) for values in axes.values())
        if count + len(self._drafts) > MAX_JOBS:
            if not self._is_full:
                self._report.add(
                    node,
                    (*path, "matrix"),
                    f"with its {count:,} jobs the pipeline has more than {MAX_JOBS:,}",
                )
            self._is_full = True
            return
        before: tuple[Mapping, Read] | None = None
        for texts in product(*axes.values()):
            combination = dict(zip(axes, texts, strict=True))
            filled = self._filled(node, path, combination)
            read = before[1] if before is not None and before[0] is filled else None
            before = (filled, self._draft(node, filled, path, stage, combination, read))

    def finish(self, environment: Environment) -> list[Job]:
        """Every job, checked by itself; how they go together is checked elsewhere."""
        jobs = []
        needs = 0
        for draft in self._drafts:
            needs += self._count_needs(draft)
            if needs > MAX_NEEDS:
                self._report.add(
                    draft.read.nodes.get("needs", draft.node),
                    (*draft.path, draft.read.names.get("needs", "needs")),
                    f"the pipeline has more than {MAX_NEEDS:,} dependencies",
                )
                break
            origins = self._write_out_needs(draft)
            environment.give(draft.values, draft.read, draft.path)
            jobs.append(self._checked(draft, origins))
        return jobs

    def _filled(self, node: Mapping, path: Path, matrix: Dict[str, str] | None) -> Mapping:
        filled = self._templates.fill(node, path, matrix)
        assert isinstance(filled, Mapping), "it was one"
        return filled

    def _axes(self, node: Mapping, path: Path) -> tuple[Mapping, dict[str, tuple[str, ...]]] | None:
        """The job without its matrix, and the values of that. None: it has none, or a bad one.

        Without it, because each job that it becomes would read all of it again.
        """
        for i, (key, value) in enumerate(node.pairs):
            if key.text != "matrix" or (isinstance(value, Scalar) and value.is_nothing):
                continue
            where = (*path, "matrix")
            found = MATRIX.read(self._templates.fill(value, where), where, self._report)
            rest = Mapping(node.line, node.column)
            rest.pairs = node.pairs[:i] + node.pairs[i + 1 :]
            if found is BAD or any(other.text == "matrix" for other, _ in rest.pairs):
                return None
            return rest, dict(found)
        return None

    def _draft(
        self,
        node: Mapping,
        filled: Mapping,
        path: Path,
        stage: str | None,
        matrix: dict[str, str],
        read: Read | None = None,
    ) -> Read:
        report = self._report
        if read is None:
            read = read_mapping(filled, JOB, path, report)
        own = read_retry(read, path, report)
        limits = {**self._limits, **read_limits(read, path, report)}
        container = read_container(read, path, report)
        values = {k: v for k, v in read.values.items() if not k.startswith("retry")}
        values.pop("matrix", None)
        if isinstance(artifacts := values.get("artifacts"), dict):
            values["artifacts"] = artifacts["paths"]
            values["artifacts_when"] = artifacts.get("when", When.ALWAYS)
        values.pop("limits", None)
        values.pop("container", None)
        name = values.get("id")
        if "id" not in read.nodes:
            report.add(node, path, "the job has no id")
        if stage is not None:
            if values.setdefault("stage", stage) != stage:
                called = "the job" if name is None else f"job {name[:100]!r}"
                message = f"{called} stands in stage {stage!r}, but names {values['stage']!r}"
                report.add(read.nodes["stage"], (*path, "stage"), message)
            values["stage"] = stage
        for place in _INHERITED:
            if place in self._top.values:
                values.setdefault(place, self._top.values[place])
        if "image" in values:
            container = {**self._container, **container}
            values["container"] = ContainerSpec.model_construct(**container) if container else None
        elif container:
            report.add(
                read.nodes["container"],
                (*path, "container"),
                "container says how a container is run, but the job has no image",
            )
        if limits:
            values["limits"] = Limits.model_construct(**limits)
        if own:
            values["retry"] = self._retry.model_copy(update=own)
        given = [n for n in _RUN if n in read.nodes and values.get(n, BAD)]
        if len(given) != 1:
            called = "the job" if name is None else f"job {name[:100]!r}"
            said = " and ".join(given) or "none of them"
            message = (
                f"{called}: give exactly one of command, script, argv or python (found {said})"
            )
            report.add(node, path, message)
        self._call(values, read, path)
        if matrix and name is not None:
            values["matrix"] = matrix
            values["env"] = {**_variables(matrix), **values.get("env", {})}
            values["id"] = f"{name}[{','.join(f'{k}={v}' for k, v in matrix.items())}]"
            self._written_out.setdefault(name, []).append(values["id"])
        self._drafts.append(_Draft(path, node, read, values))
        return read

    def _call(self, values: dict[str, Any], read: Read, path: Path) -> None:
        """What says which function is called, and with what, becomes the job's task."""
        function, arguments = values.pop("python", None), values.pop("with", None)
        if function is not None:
            kwargs = {k: LiteralArgument(value=v) for k, v in (arguments or {}).items()}
            values["task"] = TaskSpec(module=function[0], function=function[1], kwargs=kwargs)
        elif arguments is not None and "python" not in read.nodes:
            message = "with has the arguments of a function, but the job has no python"
            self._report.add(read.nodes["with"], (*path, "with"), message)

    def _count_needs(self, draft: _Draft) -> int:
        """How many they become, or the inputs if those are more."""
        return max(
            sum(len(self._written_out.get(name, (name,))) for name in draft.values.get(field, ()))
            for field in ("needs", "inputs")
        )

    def _write_out_needs(self, draft: _Draft) -> dict[str, list[int]] | None:
        """A need on a job with a matrix is one on all that it became."""
        if not self._written_out:
            return None
        origins = {}
        for field in ("needs", "inputs"):
            names = draft.values.get(field, ())
            if not any(name in self._written_out for name in names):
                continue
            whole = [(n, i) for i, name in enumerate(names) for n in self._all_of(name)]
            draft.values[field] = tuple(name for name, _ in whole)
            origins[field] = [i for _, i in whole]
        return origins or None

    def _all_of(self, name: str) -> Iterator[str]:
        yield from self._written_out.get(name, (name,))

    def _checked(self, draft: _Draft, origins: dict[str, list[int]] | None) -> Job:
        values = draft.values
        try:
            spec = JobSpec.model_validate(values)
            return Job(draft.path, draft.node, draft.read, spec, True, origins)
        except ValidationError as error:
            report_bounds(error, draft.node, draft.read, draft.path, self._report, outer=self._top)
        rest = {k: values[k] for k in ("needs", "inputs", "stage") if k in values}
        spec = JobSpec.model_construct(id=values.get("id", ""), **rest)
        return Job(draft.path, draft.node, draft.read, spec, False, origins)


def node_of(job: Job, place: str, index: int | None) -> tuple[Node, tuple[str | int, ...]]:
    """Where a rule's complaint about a field of the job, or about an item of it, belongs."""
    at = job.read.nodes.get(place, job.node)
    where: tuple[str | int, ...] = (*job.path, job.read.names.get(place, place))
    if index is None:
        return at, where
    if job.origins is not None and place in job.origins:
        index = job.origins[place][index]
    return items_of(at)[index], (*where, index)


def _variables(matrix: Dict[str, str]) -> dict[str, str]:
    return {"MATRIX_" + re.sub("[^A-Z0-9]", "_", k.upper()): v for k, v in matrix.items()}
