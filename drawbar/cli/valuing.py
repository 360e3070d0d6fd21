"""What `drawbar variables` and `drawbar connections` do."""

import json
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, Final, TypeVar

import typer
from pydantic import ValidationError

from drawbar.cli.connect import asking_jobs
from drawbar.cli.entering import entered, entered_whole
from drawbar.cli.failures import Usage
from drawbar.cli.render.console import console
from drawbar.cli.render.objects import write_all, write_json
from drawbar.cli.render.values import connection_text, connections_table, variables_table
from drawbar.cli.render.words import one_line
from shared.protocol import values as v
from shared.protocol.execution import MAX_LISTED, Connection
from shared.secret_names import HIDDEN
from shared.services import SharedValues

T = TypeVar("T")

HIDDEN_HINT: Final = "it is a secret: --reveal shows it"


def list_variables(prefix: str, server: str | None, data: Path | None, as_json: bool) -> None:
    async def all_pages(values: SharedValues) -> list[v.VariableView]:
        found: list[v.VariableView] = []
        while True:
            after = found[-1].key if found else ""
            ask = _page(prefix, after)
            page = (await values.show_variables(ask)).variables
            found += page
            if len(page) < MAX_LISTED:
                return found

    found = _asking(all_pages, server, data)
    if as_json:
        write_all(found)
    elif found:
        console().print(variables_table(found))
    else:
        typer.echo("no variables; set one with: drawbar variables set KEY")


def get_variable(
    key: str, reveal: bool, server: str | None, data: Path | None, as_json: bool
) -> None:
    found = _asking(lambda values: values.show_variable(key, reveal=reveal), server, data)
    if as_json:
        write_json(found.model_dump(mode="json"))
        return
    typer.echo(HIDDEN if found.value is None else found.value)
    if found.value is None:
        typer.echo(HIDDEN_HINT, err=True)


def set_variable(
    key: str,
    file: Path | None,
    is_secret: bool | None,
    description: str | None,
    server: str | None,
    data: Path | None,
    as_json: bool,
) -> None:
    value = entered(f"value of {key}", file)
    ask = _checked(
        lambda: v.PutVariable(key=key, value=value, description=description, is_secret=is_secret)
    )
    _asking(lambda values: values.put_variable(ask), server, data, may_begin=True)
    _said(as_json, {"key": key, "set": True}, f"variable {one_line(key)} is set")


def delete_variable(key: str, server: str | None, data: Path | None, as_json: bool) -> None:
    _asking(lambda values: values.remove_variable(key), server, data)
    _said(as_json, {"key": key, "removed": True}, f"variable {one_line(key)} is removed")


def list_connections(prefix: str, server: str | None, data: Path | None, as_json: bool) -> None:
    async def all_pages(values: SharedValues) -> list[v.ConnectionView]:
        found: list[v.ConnectionView] = []
        while True:
            after = found[-1].connection.name if found else ""
            ask = _page(prefix, after)
            page = (await values.show_connections(ask)).connections
            found += page
            if len(page) < MAX_LISTED:
                return found

    found = _asking(all_pages, server, data)
    if as_json:
        write_all(found)
    elif found:
        console().print(connections_table(found))
    else:
        typer.echo("no connections; make one with: drawbar connections set NAME --kind …")


def get_connection(
    name: str, reveal: bool, server: str | None, data: Path | None, as_json: bool
) -> None:
    found = _asking(lambda values: values.show_connection(name, reveal=reveal), server, data)
    if as_json:
        write_json(found.model_dump(mode="json"))
    else:
        typer.echo(connection_text(found))


def set_connection(
    name: str,
    said: Mapping[str, Any],
    *,
    asks_password: bool,
    password_file: Path | None,
    extra_file: Path | None,
    file: Path | None,
    server: str | None,
    data: Path | None,
    as_json: bool,
) -> None:
    fields = {key: value for key, value in said.items() if value is not None}
    if fields or asks_password or password_file or extra_file:
        if file is not None:
            raise Usage("--file has all of the connection: give it without other options")
        if "kind" not in fields:
            raise Usage("--kind is missing, for example --kind postgres")
        if asks_password or password_file is not None:
            fields["password"] = entered(f"password of {name}", password_file)
        if extra_file is not None:
            fields["extra"] = _object(entered_whole("--extra-file", extra_file), str(extra_file))
    else:
        where = "standard input" if file is None else str(file)
        fields = _object(entered_whole(f"connection {name}", file), where)
        if fields.get("name", name) != name:
            raise Usage(f"{where} has a connection of another name")
    connection = _checked(lambda: Connection.model_validate({**fields, "name": name}))
    if unknown := sorted(fields.keys() - Connection.model_fields.keys()):
        known = ", ".join(Connection.model_fields)
        raise Usage(f"a connection has no field {unknown[0]!r}: it has {known}; the rest is extra")
    _asking(lambda values: values.put_connection(connection), server, data, may_begin=True)
    _said(as_json, {"name": name, "set": True}, f"connection {one_line(name)} is set")


def delete_connection(name: str, server: str | None, data: Path | None, as_json: bool) -> None:
    _asking(lambda values: values.remove_connection(name), server, data)
    _said(as_json, {"name": name, "removed": True}, f"connection {one_line(name)} is removed")


def _asking(
    verb: Callable[[SharedValues], Awaitable[T]],
    server: str | None,
    data: Path | None,
    *,
    may_begin: bool = False,
) -> T:
    """`may_begin`: values can be set before the first `drawbar run`, which will need them."""
    return asking_jobs(
        lambda jobs, _: verb(jobs.values), server, data, only_looks=True, may_begin=may_begin
    )


def _page(prefix: str, after: str) -> v.ValuesFilter:
    return _checked(lambda: v.ValuesFilter(prefix=prefix, after=after, limit=MAX_LISTED))


def _said(as_json: bool, fact: dict[str, Any], sentence: str) -> None:
    if as_json:
        write_json(fact)
    else:
        typer.echo(sentence)


def _object(text: str, where: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        raise Usage(f"{where} is no JSON") from None
    if not isinstance(found, dict):
        raise Usage(f"{where} must hold a JSON object")
    return found


def _checked(make: Callable[[], T]) -> T:
    """Usage says which field is wrong, and never what stands in it."""
    try:
        return make()
    except ValidationError as error:
        found = error.errors(include_url=False, include_input=False, include_context=False)[0]
        place = ".".join(str(step) for step in found["loc"])
        raise Usage(f"{place}: {found['msg']}") from None
