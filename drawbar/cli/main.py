"""The `drawbar` command: every subcommand by name, settings from drawbar.toml, errors as lines.

Modules named here only declare options. What a command needs is imported when it runs: a run of
one job must not wait for code that it does not use.
"""

import sys
from collections.abc import Callable, Sequence
from typing import Any, Final, NoReturn

import typer

from drawbar.cli import (
    chaos,
    components,
    daemons,
    decisions,
    documents,
    executioner,
    faults,
    history,
    outputs,
    proofs,
    questions,
    run,
    runs,
    schedules,
    values,
    workers,
)
from drawbar.cli.failures import USAGE
from shared.collector import collect_seldom

RUN: Final = "Run pipelines"
LOOK: Final = "Look at runs"
WHEN: Final = "Run by the clock"
SHARE: Final = "Share values"
FLEET: Final = "Workers"
SERVE: Final = "Serve"
BREAK: Final = "Break on purpose"
PROVE: Final = "Prove"

app = typer.Typer(
    name="drawbar",
    help="Run jobs, and do not lose them. Start with: drawbar run FILE",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)

COMMANDS: Final[Sequence[tuple[str, str, Callable[..., Any]]]] = (
    (RUN, "run", run.run),
    (RUN, "submit", run.submit),
    (RUN, "validate", documents.validate),
    (RUN, "schema", documents.schema),
    (RUN, "graph", documents.graph),
    (RUN, "cancel", runs.cancel),
    (RUN, "retry", runs.retry),
    (RUN, "approve", decisions.approve),
    (RUN, "mark", decisions.mark),
    (RUN, "questions", questions.questions),
    (RUN, "answer", questions.answer),
    (RUN, "executioner", executioner.executioner),
    (LOOK, "runs", runs.runs),
    (LOOK, "show", runs.show),
    (LOOK, "logs", outputs.logs),
    (LOOK, "events", outputs.events),
    (LOOK, "artifacts", outputs.artifacts),
    (LOOK, "history", history.history),
    (LOOK, "diff", history.diff),
    (LOOK, "report", history.report),
    (LOOK, "export", history.export),
    (LOOK, "prune", history.prune),
    (WHEN, "schedules", schedules.schedules),
    (WHEN, "schedules add", schedules.add),
    (WHEN, "schedules next", schedules.preview),
    (WHEN, "schedules pause", schedules.pause),
    (WHEN, "schedules resume", schedules.resume),
    (WHEN, "schedules remove", schedules.remove),
    (WHEN, "schedules backfill", schedules.backfill),
    (WHEN, "schedules backfills", schedules.backfills),
    (WHEN, "schedules cancel-backfill", schedules.cancel_backfill),
    (FLEET, "workers", workers.workers),
    (FLEET, "worker-drain", workers.drain),
    (FLEET, "worker-pause", workers.pause),
    (FLEET, "worker-resume", workers.resume),
    (FLEET, "worker-stop", workers.stop),
    (FLEET, "worker-restart", workers.restart),
    (FLEET, "worker-set", workers.change),
    (SHARE, "variables", values.variables),
    (SHARE, "variables list", values.variables_list),
    (SHARE, "variables get", values.variables_get),
    (SHARE, "variables set", values.variables_set),
    (SHARE, "variables delete", values.variables_delete),
    (SHARE, "variables rotate-keys", values.rotate_keys),
    (SHARE, "connections", values.connections),
    (SHARE, "connections list", values.connections_list),
    (SHARE, "connections get", values.connections_get),
    (SHARE, "connections set", values.connections_set),
    (SHARE, "connections delete", values.connections_delete),
    (SERVE, "components", components.components),
    (SERVE, "up", daemons.up),
    (SERVE, "jobstore", daemons.jobstore),
    (SERVE, "registry", daemons.registry),
    (SERVE, "gateway", daemons.gateway),
    (SERVE, "worker", daemons.worker),
    (SERVE, "token", daemons.token),
    (BREAK, "chaos", chaos.chaos),
    (BREAK, "faults", faults.faults),
    (BREAK, "faults proxy", faults.proxy),
    (PROVE, "audit", proofs.audit),
    (PROVE, "conformance", proofs.conformance),
)


@app.callback(invoke_without_command=True)
def root(
    context: typer.Context,
    version: bool = typer.Option(False, "--version", help="Print the version and exit."),
) -> None:
    if version:
        from importlib.metadata import version as version_of

        typer.echo(f"drawbar {version_of('drawbar')}")
        raise typer.Exit
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())
        raise typer.Exit


groups: Final = {name.split()[0]: typer.Typer() for _, name, _ in COMMANDS if " " in name}

for panel, name, function in COMMANDS:
    if name in groups:
        groups[name].callback(invoke_without_command=True)(function)
        app.add_typer(groups[name], name=name, rich_help_panel=panel)
        continue
    if " " in name:
        group, own = name.split()
        groups[group].command(own)(function)
        continue
    # Words that one command takes over from another program are options there, not here.
    settings = {"ignore_unknown_options": True} if name == "executioner" else {}
    app.command(name, rich_help_panel=panel, context_settings=settings)(function)


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Do what the command line says, and exit with the code that it promises."""
    collect_seldom()
    sys.exit(run_command(sys.argv[1:] if arguments is None else arguments))


def run_command(arguments: Sequence[str]) -> int:
    """The exit code. Whatever went wrong was said on stderr, in words."""
    command = typer.main.get_group(app)
    try:
        from drawbar.cli.config import defaults

        code = command.main(
            list(arguments),
            prog_name="drawbar",
            standalone_mode=False,
            default_map=defaults(command),
        )
        sys.stdout.flush()
    except typer.TyperException as error:
        _show(error)
        return USAGE
    except (Exception, KeyboardInterrupt) as error:
        from drawbar.cli.explaining import describe

        return describe(error)
    return code if isinstance(code, int) else 0


def _show(error: typer.TyperException) -> None:
    """What is wrong with the command line, as typer itself would put it."""
    from typer._click.exceptions import ClickException
    from typer.rich_utils import rich_format_error

    assert isinstance(error, ClickException)
    rich_format_error(error)
