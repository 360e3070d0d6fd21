"""Two mappings of a pipeline become one.

What holds when one file says something over another (`extends`):
- Fields meet by what they mean, not by how they are spelled: `timeout` replaces `default_timeout`.
- Mappings merge, to any depth; a job's `retry` block and its flat retry settings are one mapping.
- Jobs merge with the job of the same id, stages that are mappings with the stage of the same
  name; new ones follow. Every other list replaces, also a list of stages that are mere names.
- `command`, `script`, `argv` and `python` replace each other, and so do `on_error` and its two
  shorthands.
- Nothing (null) takes away what the other file says.
An included file adds its jobs and stages behind, its env and params below those that are there.
"""

from collections.abc import Callable

from drawbar.document.fields import JOB, PIPELINE, STAGE
from drawbar.document.nodes import Mapping, Node, Scalar, Sequence
from drawbar.document.tables import Table, is_comment

_Pair = tuple[Scalar, Node]
_Join = Callable[[Node, Node], Node]  # of two lists of jobs


def merged(base: Mapping, over: Mapping) -> Mapping:
    """The pipeline of `base`, with what `over` says instead."""
    return _merged(base, over, PIPELINE, _over)


def added(own: Mapping, part: Mapping) -> Mapping:
    """`own`, and what an included file adds to it."""
    return _merged(part, own, PIPELINE, _joined)


def _merged(base: Mapping, over: Mapping, table: Table | None, jobs: _Join) -> Mapping:
    whole = Mapping(over.line, over.column)
    said = {_place(key, table) for key, _ in over.pairs}
    said |= _inner_places(over, table)
    if table is not None and said & table.alternatives:
        said |= table.alternatives
    kept: dict[str, _Pair] = {}  # what both say, if it can be merged
    for key, value in base.pairs:
        place = _place(key, table)
        field = None if table is None else table.fields.get(key.text)
        if field is not None and field.kind.block is not None and isinstance(value, Mapping):
            inner = field.kind.block
            less = Mapping(value.line, value.column)
            less.pairs = [p for p in value.pairs if f"{place}.{_place(p[0], inner)}" not in said]
            value = less
        if is_comment(key.text):
            continue
        if place in said:
            kept.setdefault(place, (key, value))
        else:
            whole.pairs.append((key, value))
    for key, value in over.pairs:
        place = _place(key, table)
        field = None if table is None else table.fields.get(key.text)
        before = kept.pop(place, None)
        if before is not None:
            name = None if field is None else field.kind.name
            if name == "jobs":
                value = jobs(before[1], value)
            elif name == "stages":
                value = _stages(before[1], value, jobs)
            elif isinstance(before[1], Mapping) and isinstance(value, Mapping):
                block = None if field is None else field.kind.block
                value = _merged(before[1], value, block, jobs)
        whole.pairs.append((key, value))
    return whole


def _over(base: Node, over: Node) -> Node:
    """Jobs of `base`, each with what `over` says of the same id; then the new ones."""
    if not isinstance(base, Sequence) or not isinstance(over, Sequence):
        return over
    by_id: dict[str, Mapping] = {}
    new: list[Node] = []
    known = {name for item in base.items if (name := _called(item, JOB)) is not None}
    for item in over.items:
        name = _called(item, JOB)
        if name in known and name not in by_id and isinstance(item, Mapping):
            by_id[name] = item
        else:
            new.append(item)
    whole = Sequence(over.line, over.column)
    for item in base.items:
        name = _called(item, JOB)
        if name is not None and name in by_id and isinstance(item, Mapping):
            item = _merged(item, by_id.pop(name), JOB, _over)
        whole.items.append(item)
    whole.items += new
    return whole


def _joined(part: Node, own: Node) -> Node:
    """Jobs of `own`, then those that an included file adds."""
    if not isinstance(part, Sequence) or not isinstance(own, Sequence):
        return own
    whole = Sequence(own.line, own.column)
    whole.items = [*own.items, *part.items]
    return whole


def _stages(base: Node, over: Node, jobs: _Join) -> Node:
    """Both lists of stages as one, or only the second if it replaces the first."""
    if not isinstance(base, Sequence) or not isinstance(over, Sequence):
        return over
    if jobs is _over and not any(isinstance(item, Mapping) for item in over.items):
        return over
    first, second = (base, over) if jobs is _over else (over, base)
    whole = Sequence(over.line, over.column)
    places: dict[str, int] = {}
    for source in (first, second):
        for item in source.items:
            name = _called(item, STAGE)
            if name is not None and name in places and source is second:
                at = places[name]
                there = whole.items[at]
                below, above = (there, item) if source is over else (item, there)
                whole.items[at] = _stage(below, above, jobs)
                continue
            if name is not None:
                places.setdefault(name, len(whole.items))
            whole.items.append(item)
    return whole


def _stage(below: Node, above: Node, jobs: _Join) -> Node:
    """One stage that both lists have; a mere name says no more than that it exists."""
    if isinstance(below, Mapping) and isinstance(above, Mapping):
        return _merged(below, above, STAGE, jobs)
    return above if isinstance(above, Mapping) else below


def _called(item: Node, table: Table) -> str | None:
    """The id of a job, the name of a stage."""
    if isinstance(item, Scalar):
        return item.text if table is STAGE else None
    if isinstance(item, Mapping):
        for key, value in item.pairs:
            field = table.fields.get(key.text)
            if field and field.place == table.required[0] and isinstance(value, Scalar):
                return value.text
    return None


def _place(key: Scalar, table: Table | None) -> str:
    field = None if table is None else table.fields.get(key.text)
    return key.text if field is None else field.place


def _inner_places(over: Mapping, table: Table | None) -> set[str]:
    """What blocks settle that might have been written flat: retry.max in `retry: {max: 2}`."""
    if table is None:
        return set()
    return {
        f"{field.place}.{_place(inner, field.kind.block)}"
        for key, value in over.pairs
        if (field := table.fields.get(key.text)) is not None
        and field.kind.block is not None
        and isinstance(value, Mapping)
        for inner, _ in value.pairs
    }
