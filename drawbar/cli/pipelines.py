"""Documents as commands take them: loaded, and changed by what the command line says."""

from collections.abc import Sequence
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from drawbar.cli.failures import Usage
from drawbar.document import load
from drawbar.document.bounds import in_words
from shared.protocol.pipeline import EnvName, PipelineSpec, Text


def load_pipeline(
    file: Path,
    env: Sequence[str] | None = None,
    *,
    is_sequential: bool = False,
    is_parallel: bool = False,
) -> PipelineSpec:
    """The pipeline, with the command line's wishes above its own. BadDocument, Usage."""
    if is_sequential and is_parallel:
        raise Usage("--sequential and --parallel contradict each other; give one")
    spec = load(file).spec
    changes: dict[str, object] = {}
    if is_sequential:
        changes["max_workers"] = 1
    elif is_parallel and spec.max_workers == 1:
        changes["max_workers"] = None
    given = _environment(env or ())
    if given:
        changes["env"] = {**spec.env, **given}
        changes["jobs"] = tuple(
            job.model_copy(update={"env": {**job.env, **given}}) if job.env else job
            for job in spec.jobs
        )
    return spec.model_copy(update=changes)


def submitted_from(spec: PipelineSpec, folder: Path) -> PipelineSpec:
    """The same pipeline; its jobs can tell where it was submitted."""
    env = {"DRAWBAR_SUBMIT_DIR": str(folder), **spec.env}
    return spec.model_copy(update={"env": env})


def _environment(pairs: Sequence[str]) -> dict[str, str]:
    given = parse_pairs("--env", pairs)
    if given:
        try:
            return TypeAdapter(dict[EnvName, Text]).validate_python(given)
        except ValidationError as error:
            problem = error.errors()[0]
            raise Usage(f"--env {problem['loc'][0]}: {in_words(problem)}") from None
    return given


def parse_pairs(option: str, pairs: Sequence[str]) -> dict[str, str]:
    """NAME=VALUE, each; a later one wins over an earlier one of the same name."""
    found: dict[str, str] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals or not name:
            raise Usage(f"{option} takes NAME=VALUE, found {pair!r}")
        found[name] = value
    return found
