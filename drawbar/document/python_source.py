"""A flow file → the canonical pipeline. The file is a program: it is run in a process of its own,
by the interpreter that drawbar runs on, and prints what it drew."""

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError

import drawbar
from drawbar.document.bounds import in_words
from drawbar.document.mistakes import BadDocument, Located, written
from shared.pipeline_rules import find_mistakes, nearest
from shared.protocol.pipeline import PipelineSpec

DRAWING_S: Final = 120.0  # imports of a large library may take their time
DRAW: Final = Path(drawbar.__file__).parent / "drawing" / "__main__.py"


def draw_pipeline(file: str, params: Mapping[str, str], env: Mapping[str, str]) -> PipelineSpec:
    """The pipeline that the flow file draws. BadDocument: it draws none, or a bad one.

    `params` are values for parameters that it has, `env` variables that win over all of its own.
    What the file prints goes to stderr.
    """
    try:
        ended = subprocess.run(
            [sys.executable, "-I", str(DRAW), file],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            timeout=DRAWING_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise _bad(file, 0, f"did not end within {DRAWING_S:g} s") from None
    try:
        told = json.loads(ended.stdout)
    except ValueError:
        how = (
            f"exit code {ended.returncode}"
            if ended.returncode >= 0
            else f"signal {-ended.returncode}"
        )
        raise _bad(file, 0, f"ended its interpreter ({how})") from None
    if "mistakes" in told:
        mistakes = [_located(file, m["line"], m["message"]) for m in told["mistakes"]]
        raise BadDocument(file, mistakes)
    known = told["pipeline"].get("params", {})
    if unknown := params.keys() - known.keys():
        name = min(unknown)
        raise _bad(file, told["line"], f"there is no parameter {name!r}{nearest(name, [*known])}")
    told["pipeline"]["params"] = {**known, **_typed(file, params, known, told["line"])}
    spec = _checked(file, told)
    if env:
        jobs = tuple(
            job.model_copy(update={"env": {**job.env, **env}}) if job.env else job
            for job in spec.jobs
        )
        spec = spec.model_copy(update={"env": {**spec.env, **env}, "jobs": jobs})
    return spec


def _typed(
    file: str, params: Mapping[str, str], known: Mapping[str, Any], line: int
) -> dict[str, Any]:
    """Each value as text where the default is text, else what it says as JSON."""
    typed: dict[str, Any] = {}
    for name, text in params.items():
        if isinstance(known[name], str):
            typed[name] = text
            continue
        try:
            typed[name] = json.loads(text)
        except ValueError:
            was = json.dumps(known[name])
            raise _bad(file, line, f"parameter {name!r} is {was}, {text!r} is no JSON") from None
    return typed


def _checked(file: str, told: dict[str, Any]) -> PipelineSpec:
    """Nobody is trusted: what the file drew meets the same rules as any document."""
    lines = list(told["lines"].values())

    def located(place: Sequence[int | str], message: str) -> Located:
        """At the line where the job was called."""
        match place:
            case ["jobs", int(number), *_]:
                return Located(lines[number], 1, written(tuple(place)), message, file)
            case _:
                return Located(told["line"], 1, written(tuple(place)), message, file)

    try:
        spec = PipelineSpec.model_validate_json(json.dumps(told["pipeline"]))
    except ValidationError as error:
        problems = error.errors(include_url=False)
        if len(problems) > 1:  # a job with a mistake counts as missing, too
            problems = [p for p in problems if p["loc"] != ("jobs",)]
        mistakes = [located(p["loc"], f"{_last_name(p['loc'])}: {in_words(p)}") for p in problems]
        raise BadDocument(file, mistakes) from None
    if found := find_mistakes(spec):
        raise BadDocument(file, [located(m.path, m.message) for m in found])
    return spec


def _last_name(place: Sequence[int | str]) -> str:
    """`on` of `notify.on[0]`."""
    return next((part for part in reversed(place) if isinstance(part, str)), "the pipeline")


def _bad(file: str, line: int, message: str) -> BadDocument:
    return BadDocument(file, [_located(file, line, message)])


def _located(file: str, line: int, message: str) -> Located:
    return Located(line, 1 if line else 0, "", message, file)
