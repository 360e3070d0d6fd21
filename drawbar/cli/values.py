"""`variables` and `connections` and their subcommands: what all pipelines share.

A value never stands on the command line, where other users of the machine could read it: it comes
from standard input, a file or a question.
"""

from pathlib import Path
from typing import Annotated

import typer

from drawbar.cli.options import Data, Json, Server

VariableKey = Annotated[
    str, typer.Argument(metavar="KEY", help="The variable's name.", show_default=False)
]
ConnectionName = Annotated[
    str, typer.Argument(metavar="NAME", help="The connection's name.", show_default=False)
]
Prefix = Annotated[str, typer.Option("--prefix", metavar="TEXT", help="Names that begin so.")]
Reveal = Annotated[bool, typer.Option("--reveal", help="Show what is secret, too; takes an admin.")]
FromFile = Annotated[
    Path | None,
    typer.Option(
        "--file",
        metavar="FILE",
        help="Take it from this file. Default: standard input, or a question on a terminal.",
        show_default=False,
    ),
]
Secret = Annotated[
    bool | None,
    typer.Option(
        "--secret/--no-secret",
        help="Hide it from people and in logs. Default: as it was, or as its name tells.",
        show_default=False,
    ),
]
Description = Annotated[
    str | None,
    typer.Option("--description", metavar="TEXT", help="What it is for.", show_default=False),
]
NewKey = Annotated[
    bool, typer.Option("--new", help="Make a new key first, in this installation's key file.")
]
Kind = Annotated[
    str | None,
    typer.Option("--kind", metavar="WORD", help="postgres, http, s3, …", show_default=False),
]
Host = Annotated[
    str | None, typer.Option("--host", metavar="HOST", help="Where it is.", show_default=False)
]
Port = Annotated[
    int | None,
    typer.Option("--port", metavar="N", min=0, max=65_535, help="Its port.", show_default=False),
]
User = Annotated[
    str | None, typer.Option("--user", metavar="NAME", help="Who logs in.", show_default=False)
]
PathThere = Annotated[
    str | None,
    typer.Option("--path", metavar="TEXT", help="Database, bucket or folder.", show_default=False),
]
ExtraFile = Annotated[
    Path | None,
    typer.Option(
        "--extra-file",
        metavar="FILE",
        help="A JSON object with whatever else there is to know.",
        show_default=False,
    ),
]
WithPassword = Annotated[
    bool,
    typer.Option("--password", help="Read its password, from standard input or by a question."),
]
PasswordFile = Annotated[
    Path | None,
    typer.Option(
        "--password-file",
        metavar="FILE",
        help="Take its password from this file.",
        show_default=False,
    ),
]


def variables(
    context: typer.Context, server: Server = None, data: Data = None, as_json: Json = False
) -> None:
    """Texts that all pipelines share: list them, or do something about them.

    Example: drawbar variables
    """
    from drawbar.cli import valuing
    from drawbar.cli.scheduling import check_place

    if context.invoked_subcommand is None:
        valuing.list_variables("", server, data, as_json)
    else:
        check_place(context)


def variables_list(
    prefix: Prefix = "", server: Server = None, data: Data = None, as_json: Json = False
) -> None:
    """List variables; what is secret is not shown.

    Example: drawbar variables list --prefix etl.
    """
    from drawbar.cli import valuing

    valuing.list_variables(prefix, server, data, as_json)


def variables_get(
    key: VariableKey,
    reveal: Reveal = False,
    server: Server = None,
    data: Data = None,
    as_json: Json = False,
) -> None:
    """Print a variable's value, or *** when it is a secret.

    Example: drawbar variables get region
    """
    from drawbar.cli import valuing

    valuing.get_variable(key, reveal, server, data, as_json)


def variables_set(
    key: VariableKey,
    file: FromFile = None,
    secret: Secret = None,
    description: Description = None,
    server: Server = None,
    data: Data = None,
    as_json: Json = False,
) -> None:
    """Give a variable its value; one line end behind it does not count.

    Example: drawbar variables set region < region.txt
    """
    from drawbar.cli import valuing

    valuing.set_variable(key, file, secret, description, server, data, as_json)


def variables_delete(
    key: VariableKey, server: Server = None, data: Data = None, as_json: Json = False
) -> None:
    """Remove a variable.

    Example: drawbar variables delete region
    """
    from drawbar.cli import valuing

    valuing.delete_variable(key, server, data, as_json)


def rotate_keys(
    new: NewKey = False, server: Server = None, data: Data = None, as_json: Json = False
) -> None:
    """Seal all variables and connections anew, with the first key; the service goes on.

    The job service reads its keys again: from DRAWBAR_SECRETS_KEY_FILE, or keys/secrets.key in its
    data directory. Put a new key above the old one, or let --new do so.

    Example: drawbar variables rotate-keys --new
    """
    from drawbar.cli import rotating

    rotating.rotate_keys(new, server, data, as_json)


def connections(
    context: typer.Context, server: Server = None, data: Data = None, as_json: Json = False
) -> None:
    """How to reach things, and as whom: list connections, or do something about them.

    Example: drawbar connections
    """
    from drawbar.cli import valuing
    from drawbar.cli.scheduling import check_place

    if context.invoked_subcommand is None:
        valuing.list_connections("", server, data, as_json)
    else:
        check_place(context)


def connections_list(
    prefix: Prefix = "", server: Server = None, data: Data = None, as_json: Json = False
) -> None:
    """List connections, without their passwords.

    Example: drawbar connections list
    """
    from drawbar.cli import valuing

    valuing.list_connections(prefix, server, data, as_json)


def connections_get(
    name: ConnectionName,
    reveal: Reveal = False,
    server: Server = None,
    data: Data = None,
    as_json: Json = False,
) -> None:
    """Print a connection; what is secret as ***.

    Example: drawbar connections get warehouse
    """
    from drawbar.cli import valuing

    valuing.get_connection(name, reveal, server, data, as_json)


def connections_set(
    name: ConnectionName,
    kind: Kind = None,
    host: Host = None,
    port: Port = None,
    user: User = None,
    path: PathThere = None,
    password: WithPassword = False,
    password_file: PasswordFile = None,
    extra_file: ExtraFile = None,
    file: FromFile = None,
    server: Server = None,
    data: Data = None,
    as_json: Json = False,
) -> None:
    """Make a connection, or replace it as a whole: from options, or all of it as JSON.

    Example: drawbar connections set warehouse --kind postgres --host db --user etl --password
    """
    from drawbar.cli import valuing

    said = {"kind": kind, "host": host, "port": port, "user": user, "path": path}
    valuing.set_connection(
        name,
        said,
        asks_password=password,
        password_file=password_file,
        extra_file=extra_file,
        file=file,
        server=server,
        data=data,
        as_json=as_json,
    )


def connections_delete(
    name: ConnectionName, server: Server = None, data: Data = None, as_json: Json = False
) -> None:
    """Remove a connection.

    Example: drawbar connections delete warehouse
    """
    from drawbar.cli import valuing

    valuing.delete_connection(name, server, data, as_json)
