"""Options that let a daemon be disturbed on purpose. Without them nothing can be."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, NamedTuple

import typer

from drawbar.cli.failures import Usage

if TYPE_CHECKING:
    from shared.interference import Interference
    from shared.runtime import Runtime

PANEL: Final = "To test failure"

AllowFaults = Annotated[
    bool,
    typer.Option(
        "--allow-faults",
        help="Faults may be injected, by a plan or by an admin's request. Not for production.",
        rich_help_panel=PANEL,
    ),
]
FaultPlan = Annotated[
    Path | None,
    typer.Option(
        "--fault-plan",
        metavar="FILE",
        help="Faults at points (drawbar faults), as YAML; read again when it changes.",
        show_default=False,
        rich_help_panel=PANEL,
    ),
]
FaultLog = Annotated[
    Path | None,
    typer.Option(
        "--fault-log",
        metavar="FILE",
        help="Gets a JSON line for every injected fault.",
        show_default=False,
        rich_help_panel=PANEL,
    ),
]


class Disturbance(NamedTuple):
    """What the command line says of faults."""

    is_allowed: bool
    plan: Path | None
    log: Path | None

    def check(self) -> None:
        """Usage, Misconfigured: no daemon can be started so."""
        if not self.is_allowed:
            for option, file in (("--fault-plan", self.plan), ("--fault-log", self.log)):
                if file is not None:
                    raise Usage(f"{option} has no effect without --allow-faults; give both")
            return
        from faults.daemon import plan_of

        if self.plan is not None:
            plan_of(self.plan)
        if self.log is not None:
            try:
                self.log.open("a").close()
            except OSError as error:
                raise Usage(f"--fault-log {self.log}: {error.strerror}") from None

    def of(
        self, service: str, runtime: "Runtime", name: str | None = None
    ) -> "Interference | None":
        """What stands between the parts of the daemon; None: nothing."""
        if not self.is_allowed:
            return None
        from faults.daemon import FaultyDaemon

        return FaultyDaemon(service, runtime, plan=self.plan, events=self.log, name=name)
