"""`components`: which long-running parts there are, and whether each is heard of."""

from typing import Annotated

import typer

from drawbar.cli.options import Data, Json, Server

All = Annotated[bool, typer.Option("--all", "-a", help="Also those that have ended.")]


def components(
    with_ended: All = False, server: Server = None, data: Data = None, as_json: Json = False
) -> None:
    """List the long-running parts: live, stale (not heard of: it died, or is cut off), ended.

    Example: drawbar components --all
    """
    from drawbar.cli.connect import asking_jobs
    from drawbar.cli.render.components import components_table
    from drawbar.cli.render.console import console
    from drawbar.cli.render.objects import write_all
    from shared.protocol.components import ComponentFilter

    ask = ComponentFilter(with_ended=with_ended)
    found = asking_jobs(
        lambda jobs, _: jobs.components.list_components(ask), server, data, only_looks=True
    ).components
    if as_json:
        write_all(found)
    elif found:
        console().print(components_table(found))
    else:
        typer.echo(
            "no components live now; --all lists those that ended. Daemons and 'drawbar up' record"
            " theirs when they start, a 'drawbar run' when it lasts longer than a second"
        )
