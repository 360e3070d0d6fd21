"""`validate`, `schema` and `graph`: what can be said of documents without running them."""

from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from drawbar.cli.options import Json, Params, PipelineFile

if TYPE_CHECKING:
    from drawbar.document.mistakes import Located


class Format(StrEnum):
    TEXT = "text"
    MERMAID = "mermaid"
    DOT = "dot"


Formats = Annotated[Format, typer.Option("--format", "-f", help="How to draw it.")]
Files = Annotated[
    list[Path],
    typer.Argument(metavar="FILE", help="Pipelines: YAML, JSON or TOML.", show_default=False),
]


def validate(files: Files, param: Params = None, as_json: Json = False) -> int:
    """Check pipelines: every mistake at once, with its line.

    Exit code: 0 when they can run, 2 when one cannot.

    Example: drawbar validate release.yaml
    """
    from drawbar.cli.pairs import parse_pairs
    from drawbar.cli.render.objects import write_json

    params = parse_pairs("--param", param or ())
    found = [_checked(file, params, say=not as_json) for file in files]
    is_valid = all(one["valid"] for one in found)
    if as_json:
        write_json(found[0] if len(found) == 1 else {"valid": is_valid, "documents": found})
    return 0 if is_valid else 2


def schema() -> None:
    """Print the JSON Schema of documents, from which editors complete and check them.

    Example: drawbar schema > drawbar.schema.json
    """
    from drawbar.cli.render.objects import write_json
    from drawbar.document.schema import build_schema

    write_json(build_schema())


def graph(
    file: PipelineFile, param: Params = None, how: Formats = Format.TEXT, as_json: Json = False
) -> None:
    """Draw a pipeline: layers of jobs, and what each waits for.

    Example: drawbar graph release.yaml --format mermaid
    """
    from drawbar.cli.pairs import parse_pairs
    from drawbar.cli.render.objects import write_json
    from drawbar.document import load
    from drawbar.document.graph import layers, render_graph

    spec = load(file, parse_pairs("--param", param or ())).spec
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


def _checked(file: Path, params: Mapping[str, str], *, say: bool) -> dict[str, Any]:
    """What is true of one document; `say`: people have been told, too."""
    from drawbar.cli.failures import say as tell
    from drawbar.cli.render.words import count, printable
    from drawbar.document import BadDocument, load

    try:
        loaded = load(file, params)
    except BadDocument as bad:
        if say:
            tell(bad.format_mistakes(), prefix="")
        return {"valid": False, "file": str(file), "mistakes": [_plain(m) for m in bad.mistakes]}
    spec = loaded.spec
    if say:
        from drawbar.document.mistakes import format_located

        stages = f" in {count(len(spec.stages), 'stage')}" if spec.stages else ""
        jobs = count(len(spec.jobs), "job")
        typer.echo(f"{file}: {printable(spec.name)} is good: {jobs}{stages}")
        for note in loaded.notes:
            typer.echo(f"  note: {printable(format_located(note))}")
    return {
        "valid": True,
        "file": str(file),
        "name": spec.name,
        "jobs": len(spec.jobs),
        "notes": [_plain(note) for note in loaded.notes],
    }


def _plain(found: "Located") -> dict[str, Any]:
    return {
        "file": found.file,
        "line": found.line,
        "column": found.column,
        "path": found.path,
        "message": found.message,
    }
