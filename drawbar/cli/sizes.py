"""How much an attempt may write and leave, in the options of workers and of the job service."""

from typing import Annotated, Final, NamedTuple

import typer

from drawbar.cli.failures import Usage
from drawbar.cli.fitness import size_bytes

PANEL: Final = "How much is kept of an attempt"

MaxLog = Annotated[
    str,
    typer.Option(
        "--max-log",
        metavar="SIZE",
        envvar="DRAWBAR_MAX_LOG",
        help="Of its log; a longer one loses its middle.",
        rich_help_panel=PANEL,
    ),
]
MaxArtifact = Annotated[
    str,
    typer.Option(
        "--max-artifact",
        metavar="SIZE",
        envvar="DRAWBAR_MAX_ARTIFACT",
        help="Of each artifact; a larger one fails the job.",
        rich_help_panel=PANEL,
    ),
]
MaxArtifacts = Annotated[
    str,
    typer.Option(
        "--max-artifacts",
        metavar="SIZE",
        envvar="DRAWBAR_MAX_ARTIFACTS",
        help="Of its artifacts together.",
        rich_help_panel=PANEL,
    ),
]


LEAST_LOG_BYTES: Final = 65_536  # below, what is said of the limit would take most of the room


class Sizes(NamedTuple):
    """In bytes."""

    log: int
    artifact: int
    artifacts: int | None  # together; the job service has no bound for that


def read_sizes(log: str, artifact: str, artifacts: str | None = None) -> Sizes:
    """Usage: one of them is no size, or leaves no room for a log."""
    log_bytes = size_bytes("--max-log", log)
    if log_bytes < LEAST_LOG_BYTES:
        raise Usage(f"--max-log takes 64K or more; found {log!r}")
    return Sizes(
        log_bytes,
        size_bytes("--max-artifact", artifact),
        None if artifacts is None else size_bytes("--max-artifacts", artifacts),
    )
