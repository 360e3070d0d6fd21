"""`audit` and `conformance`: proofs about what happened, and about who speaks the protocol."""

from pathlib import Path
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
GatewayUrl = Annotated[
    str | None,
    typer.Option("--gateway", metavar="URL", help="The gateway to try.", show_default=False),
]
RegistryUrl = Annotated[
    str | None,
    typer.Option("--registry", metavar="URL", help="The registry to try.", show_default=False),
]
JobstoreUrl = Annotated[
    str | None,
    typer.Option(
        "--jobstore",
        metavar="URL",
        help="Where jobs for the cases are submitted; without it, cases with jobs are skipped.",
        show_default=False,
    ),
]
SecretFile = Annotated[
    Path | None,
    typer.Option(
        "--enrolment-secret-file",
        metavar="FILE",
        envvar="DRAWBAR_ENROLMENT_SECRET_FILE",
        help="What workers enrol with. Default: that of the data directory.",
        show_default=False,
    ),
]
WorkerCommand = Annotated[
    str | None,
    typer.Option(
        "--worker",
        metavar="COMMAND",
        help="Try the worker that this starts, in which {gateway}, {registry}, {secret_file},"
        " {data}, {name} and {slots} are filled in.",
        show_default=False,
    ),
]
Junit = Annotated[
    Path | None,
    typer.Option(
        "--junit", metavar="FILE", help="Also write a report as JUnit XML.", show_default=False
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


def conformance(
    gateway: GatewayUrl = None,
    registry: RegistryUrl = None,
    jobstore: JobstoreUrl = None,
    secret_file: SecretFile = None,
    worker: WorkerCommand = None,
    junit: Junit = None,
    data: Data = None,
) -> None:
    """Try whether services, or a worker, keep to the protocol, whoever wrote them.

    Each case names the sentence of docs/protocol.md that it proves. Exits with 1 when one is
    broken.

    Example: drawbar conformance --worker 'drawbar worker --name {name} --slots {slots}'
    """
    from drawbar.cli import conforming

    raise typer.Exit(
        conforming.print_conformance(
            gateway=gateway,
            registry=registry,
            jobstore=jobstore,
            secret_file=secret_file,
            worker=worker,
            junit=junit,
            data=data,
        )
    )
