"""Tables of what can be broken, and where."""

from collections.abc import Mapping, Sequence

from rich.table import Table
from rich.text import Text

from drawbar.cli.render.columns import table
from faults.points import Point


def points_table(points: Sequence[Point]) -> Table:
    made = table("point", "moment", "actions", names=("point",))
    for point in points:
        made.add_row(point.name, Text(point.what), Text(" ".join(a.value for a in point.actions)))
    return made


def faults_table(kinds: Mapping[str, Mapping[str, str]]) -> Table:
    made = table("fault", "fields", names=("fault",))
    for kind, fields in kinds.items():
        told = ", ".join(f"{name}={value}" if value else name for name, value in fields.items())
        made.add_row(kind, Text(told))
    return made
