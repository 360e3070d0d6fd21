"""A flow file → one JSON object on stdout: {"pipeline", "lines"} or {"mistakes"}."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from drawbar.sdk.bundle import BadBundle, pack
from drawbar.sdk.document import Misplaced, document_of
from drawbar.sdk.flow import load_module, module_name
from drawbar.sdk.graph import FlowMistake, drawn


def main(arguments: Sequence[str]) -> int:
    """What the flow file drew, or what is wrong with it, was printed. Its own prints: to stderr."""
    answer = os.dup(1)
    os.dup2(2, 1)
    sys.path[:0] = [p for p in os.environ.get("PYTHONPATH", "").split(os.pathsep) if p]
    (file,) = arguments
    sys.argv = [file]
    told = json.dumps(draw(Path(os.path.realpath(file))))
    sys.stdout.flush()
    with os.fdopen(answer, "w", encoding="utf-8") as out:
        out.write(told)
    return 0


def draw(file: Path) -> dict[str, Any]:
    """Everything that a flow file can do wrong is a mistake with its line; 0: of the whole file."""
    name = module_name(file)
    try:
        load_module(file, name, file.parent)
    except SyntaxError as error:
        inside = "" if error.filename in (str(file), None) else f" in {error.filename}"
        return _mistake(0 if inside else error.lineno or 0, f"{error.msg}{inside}")
    except (FlowMistake, ValueError) as error:
        return _mistake(_line_in(file, error.__traceback__), str(error))
    except BaseException as error:
        said = f"{type(error).__name__}: {error}"
        if isinstance(error, SystemExit):
            said = f"the file ends the interpreter (exit code {error.code})"
        return _mistake(_line_in(file, error.__traceback__), said)
    pipelines = drawn()
    if not pipelines:
        return _mistake(
            0, 'draws no pipeline; write `with pipeline("name"):` and call tasks inside'
        )
    if len(pipelines) > 1:
        names = ", ".join(repr(p.name) for p in pipelines)
        return _mistake(
            pipelines[1].line, f"draws {len(pipelines)} pipelines ({names}); keep one in a file"
        )
    pipeline = pipelines[0]
    if not pipeline.jobs:
        return _mistake(pipeline.line, "the pipeline has no jobs")
    try:
        document = document_of(pipeline, pack(file, name, pipeline.include))
    except Misplaced as mistake:
        return _mistake(mistake.line, str(mistake))
    except BadBundle as mistake:
        return _mistake(pipeline.line, str(mistake))
    lines = {job.id: job.line for job in pipeline.jobs.values()}
    return {"pipeline": document, "lines": lines, "line": pipeline.line}


def _mistake(line: int, message: str) -> dict[str, Any]:
    return {"mistakes": [{"line": line, "message": message}]}


def _line_in(file: Path, trace: TracebackType | None) -> int:
    """The last line of the flow file itself on the way to an error."""
    line = 0
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == str(file):
            line = trace.tb_lineno
        trace = trace.tb_next
    return line
