"""`validate` and `graph`: what can be said of a document without running it."""

from enum import StrEnum
from typing import Annotated

import typer

from drawbar.cli.options import Json, PipelineFile


class Format(StrEnum):
    TEXT = "text"
    MERMAID = "mermaid"
    DOT = "dot"


Formats = Annotated[Format, typer.Option("--format", "-f", help="How to draw it.")]


def validate(file: PipelineFile, as_json: Json = False) -> int:
    """Check a pipeline: every mistake at once, with its line.

    Exit code: 0 when it can run, 2 when it cannot.

    Example: drawbar validate release.yaml
    """
    from drawbar.cli.render.objects import write_json
    from drawbar.cli.render.words import count, printable
    from drawbar.document import BadDocument, load

    try:
        spec = load(file).spec
    except BadDocument as bad:
        if not as_json:
            raise
        mistakes = [
            {"line": m.line, "column": m.column, "path": m.path, "message": m.message}
            for m in bad.mistakes
        ]
        write_json({"valid": False, "file": str(file), "mistakes": mistakes})
        return 2
    if as_json:
        write_json({"valid": True, "file": str(file), "name": spec.name, "jobs": len(spec.jobs)})
    else:
        stages = f" in {count(len(spec.stages), 'stage')}" if spec.stages else ""
        typer.echo(
            f"{file}: {printable(spec.name)} is good: {count(len(spec.jobs), 'job')}{stages}"
        )
    return 0


def graph(file: PipelineFile, how: Formats = Format.TEXT, as_json: Json = False) -> None:
    """Draw a pipeline: layers of jobs, and what each waits for.

    Example: drawbar graph release.yaml --format mermaid
    """
    from drawbar.cli.render.objects import write_json
    from drawbar.document import load
    from drawbar.document.graph import layers, render_graph

    spec = load(file).spec
    if as_json:
        write_json(
            {
                "name": spec.name,
                "stages": list(spec.stages),
                "layers": [[job.id for job in rank] for rank in layers(spec)],
                "jobs": [
                    {"id": job.id, "stage": job.stage, "needs": list(job.needs)}
                    for job in spec.jobs
                ],
            }
        )
    else:
        typer.echo(render_graph(spec, how.value), nl=False)
