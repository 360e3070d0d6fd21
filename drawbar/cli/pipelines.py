"""Documents as commands take them: loaded, and changed by what the command line says."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pydantic import TypeAdapter, ValidationError

from drawbar.cli.failures import Usage, say
from drawbar.cli.pairs import parse_pairs
from drawbar.cli.render.words import count
from drawbar.document import Loaded, load
from drawbar.document.bounds import in_words
from shared.ids import JobId, RunId
from shared.pipeline_rules import nearest
from shared.protocol.jobs import Resume, SubmitRequest
from shared.protocol.pipeline import EnvName, OnError, PipelineSpec, Text

MAX_NOTES: Final = 5


@dataclass(frozen=True, slots=True)
class Start:
    """A pipeline, and how much of it is to be run."""

    pipeline: PipelineSpec
    skip: tuple[JobId, ...] = ()
    resume: Resume | None = None

    def request(self, key: str) -> SubmitRequest:
        return SubmitRequest(
            idempotency_key=key, pipeline=self.pipeline, skip=self.skip, resume=self.resume
        )


def start_of(
    pipeline: PipelineSpec,
    *,
    skip: Sequence[str] | None = None,
    resume: int | None = None,
    failed_only: bool = False,
) -> Start:
    """Usage: there is no such job, or nothing to resume."""
    if failed_only and resume is None:
        raise Usage("--failed-only needs --resume RUN, the run in which something failed")
    return Start(
        pipeline,
        skip=_skipped(pipeline, skip or ()),
        resume=None if resume is None else Resume(run_id=RunId(resume), failed_only=failed_only),
    )


def load_pipeline(
    file: Path,
    env: Sequence[str] | None = None,
    params: Sequence[str] | None = None,
    *,
    is_sequential: bool = False,
    is_parallel: bool = False,
    workers: int | None = None,
    continue_on_error: bool = False,
    fail_fast: bool = False,
) -> PipelineSpec:
    """The pipeline, with the command line's wishes above its own. BadDocument, Usage.

    `workers` is how many jobs may run at once; a document that runs them one by one goes on so
    unless `is_parallel`.
    """
    if is_sequential and is_parallel:
        raise Usage("--sequential and --parallel contradict each other; give one")
    if continue_on_error and fail_fast:
        raise Usage("--continue-on-error and --fail-fast contradict each other; give one")
    loaded = load(file, params=parse_pairs("--param", params or ()), env=_environment(env or ()))
    _say_notes(file, loaded)
    spec = loaded.spec
    changes: dict[str, object] = {}
    if is_sequential or (spec.max_workers == 1 and not is_parallel):
        changes["max_workers"] = 1
    elif workers is not None:
        changes["max_workers"] = workers
    elif is_parallel and spec.max_workers == 1:
        changes["max_workers"] = None
    if continue_on_error or fail_fast:
        changes["on_error"] = OnError.CANCEL if fail_fast else OnError.CONTINUE
    return spec.model_copy(update=changes)


def submitted_from(spec: PipelineSpec, folder: Path) -> PipelineSpec:
    """The same pipeline; its jobs can tell where it was submitted."""
    env = {"DRAWBAR_SUBMIT_DIR": str(folder), **spec.env}
    return spec.model_copy(update={"env": env})


def _say_notes(file: Path, loaded: Loaded) -> None:
    """What is doubtful in the document is on stderr, the first of it at least."""
    for note in loaded.notes[:MAX_NOTES]:
        say(f"{note.file or file}:{note.line}: {note.message}", prefix="note: ")
    if len(loaded.notes) > MAX_NOTES:
        rest = count(len(loaded.notes) - MAX_NOTES, "more note")
        say(f"{rest}; 'drawbar validate {file}' lists them", prefix="note: ")


def _skipped(pipeline: PipelineSpec, names: Sequence[str]) -> tuple[JobId, ...]:
    """The jobs of those names, in document order; a matrix's name means all of it."""
    found: set[str] = set()
    known = {job.id for job in pipeline.jobs}
    of_matrix: dict[str, list[str]] = {}
    for job in pipeline.jobs:
        if job.matrix:
            of_matrix.setdefault(job.id.partition("[")[0], []).append(job.id)
    for name in names:
        if name not in known and name not in of_matrix:
            hint = nearest(name, sorted(known | of_matrix.keys()))
            raise Usage(f"--skip {name}: the pipeline has no such job{hint}")
        found.update(of_matrix.get(name, ()) if name not in known else (name,))
    return tuple(JobId(job.id) for job in pipeline.jobs if job.id in found)


def _environment(pairs: Sequence[str]) -> dict[str, str]:
    given = parse_pairs("--env", pairs)
    if given:
        try:
            return TypeAdapter(dict[EnvName, Text]).validate_python(given)
        except ValidationError as error:
            problem = error.errors()[0]
            raise Usage(f"--env {problem['loc'][0]}: {in_words(problem)}") from None
    return given
