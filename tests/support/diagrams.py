"""A state table as a mermaid diagram: what the docs show is rendered from what the code does."""

from collections.abc import Collection, Mapping, Sequence
from enum import StrEnum
from typing import Any

Table = Mapping[tuple[Any, Any], StrEnum]  # (state, event): state


def render(
    table: Table,
    start: StrEnum,
    groups: Mapping[str, Sequence[StrEnum]] | None = None,
    ends: Collection[StrEnum] = (),
) -> str:
    """Edges in the table's order, those between the same two states on one arrow.

    An event that leads from every state of a group to the same place is drawn once, from the
    group. States without a way out lead to the end, and so do `ends`, which only people reopen.
    """
    drawn: set[tuple[StrEnum, StrEnum]] = set()
    arrows: dict[tuple[str, str], list[str]] = {}
    lines = ["stateDiagram-v2"]
    for name, members in (groups or {}).items():
        lines += [f"    state {name} {{", *(f"        {s.value}" for s in members), "    }"]
        for (_, event), to in table.items():
            edges = [(state, event) for state in members]
            if edges[0] not in drawn and all(table.get(edge) is to for edge in edges):
                drawn.update(edges)
                arrows.setdefault((name, to.value), []).append(event.value)
    for (state, event), to in table.items():
        if (state, event) not in drawn:
            arrows.setdefault((state.value, to.value), []).append(event.value)
    lines.append(f"    [*] --> {start.value}")
    for (source, target), events in arrows.items():
        lines.append(f"    {source} --> {target}: {', '.join(events)}")
    left = {state for state, _ in table}
    last = dict.fromkeys(to for to in table.values() if to not in left or to in ends)
    lines += [f"    {end.value} --> [*]" for end in last]
    return "\n".join(lines) + "\n"
