"""Components as people see them."""

from collections.abc import Sequence

from rich.table import Table
from rich.text import Text

from drawbar.cli.render.columns import table
from drawbar.cli.render.words import duration, one_line
from shared.protocol.components import ComponentView, Liveness

STYLES = {Liveness.LIVE: "green", Liveness.STALE: "red", Liveness.ENDED: "dim"}


def components_table(found: Sequence[ComponentView]) -> Table:
    made = table("component", "name", "state", "last beat", "process", "reason")
    for one in found:
        made.add_row(
            Text(one_line(one.kind)),
            Text(one_line(one.name)),
            Text(one.state.value, style=STYLES[one.state]),
            "just now" if one.silent_s < 2 else f"{duration(one.silent_s)} ago",
            Text(f"{one_line(one.host)}:{one.pid}"),
            Text(one_line(one.reason or "")),
        )
    return made
