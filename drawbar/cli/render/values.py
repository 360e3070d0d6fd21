"""Variables and connections as people see them."""

import json
from collections.abc import Sequence

from rich.table import Table
from rich.text import Text

from drawbar.cli.render.columns import table
from drawbar.cli.render.words import one_line
from shared.protocol.values import ConnectionView, VariableView
from shared.secret_names import HIDDEN

LONGEST = 60  # of a value in a listing


def variables_table(found: Sequence[VariableView]) -> Table:
    made = table("variable", "value", "description")
    for one in found:
        value = HIDDEN if one.value is None else one_line(one.value)
        if len(value) > LONGEST:
            value = value[: LONGEST - 1] + "…"
        made.add_row(Text(one_line(one.key)), Text(value), Text(one_line(one.description)))
    return made


def connections_table(found: Sequence[ConnectionView]) -> Table:
    made = table("connection", "kind", "host", "port", "user", "password", "path", right=("port",))
    for view in found:
        one = view.connection
        made.add_row(
            Text(one_line(one.name)),
            Text(one_line(one.kind)),
            Text(one_line(one.host or "")),
            "" if one.port is None else str(one.port),
            Text(one_line(one.user or "")),
            HIDDEN if view.has_password else "",
            Text(one_line(one.path or "")),
        )
    return made


def connection_text(view: ConnectionView) -> str:
    """A line for each field that says something."""
    one = view.connection
    password = one.password if one.password is not None else HIDDEN if view.has_password else None
    fields = {
        **one.model_dump(exclude={"password", "extra"}),
        "password": password,
        "extra": json.dumps(one.extra, ensure_ascii=False) if one.extra else None,
    }
    return "\n".join(
        f"{name:<9} {one_line(str(value))}" for name, value in fields.items() if value is not None
    )
