"""`audit` and `conformance`: proofs about what happened, and about who speaks the protocol."""

from typing import Annotated

import typer

from drawbar.cli.options import Data, Json

AuditedRun = Annotated[
    int | None,
    typer.Argument(metavar="RUN", help="The run's number.", min=1, show_default=False),
]
All = Annotated[bool, typer.Option("--all", help="Every run, and the store as a whole.")]
Expect = Annotated[
    str | None,
    typer.Option(
        "--expect",
        metavar="HEAD",
        help="With --all: the store must have grown out of the state that an earlier audit named.",
        show_default=False,
    ),
]


def audit(
    run: AuditedRun = None,
    every: All = False,
    expect: Expect = None,
    data: Data = None,
    as_json: Json = False,
) -> None:
    """Prove from the event log that nothing was lost, accepted twice, or changed afterwards.

    Only reads the data directory: also while services work with it, and a copy of it. Exits with 1
    when something is found.

    Example: drawbar audit --all --data /var/lib/drawbar
    """
    from drawbar.cli import auditing

    raise typer.Exit(auditing.print_audit(run, every, expect, data=data, as_json=as_json))
