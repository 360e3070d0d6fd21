"""`extends` and `include`: several files become one mapping before anything is read from it.

What holds when one file says something over another (`extends`):
- Fields meet by what they mean, not by how they are spelled: `timeout` replaces `default_timeout`.
- Mappings merge, to any depth; a job's `retry` block and its flat retry settings are one mapping.
- Jobs merge with the job of the same id, stages that are mappings with the stage of the same
  name; new ones follow. Every other list replaces, also a list of stages that are mere names.
- `command`, `script` and `argv` replace each other, and so do `on_error` and its two shorthands.
- Nothing (null) takes away what the other file says.
An included file adds its jobs and stages behind, its env and params below those that are there.
"""

from collections.abc import Callable
from functools import reduce
from pathlib import Path
from typing import Final

from drawbar.document.dialects import EXECUTIONER, OURS, Defaults, defaults_of
from drawbar.document.fields import INCLUDABLE, JOB, PIPELINE, STAGE
from drawbar.document.mistakes import Path as Place
from drawbar.document.mistakes import Report
from drawbar.document.nodes import Mapping, Node, Scalar, Sequence
from drawbar.document.readers import items_of
from drawbar.document.sources import Sources, Unusable, position_in
from drawbar.document.tables import Table, is_comment

MAX_DEPTH: Final = 16

Pair = tuple[Scalar, Node]


def put_together(root: Mapping, sources: Sources, report: Report) -> tuple[Mapping, Defaults]:
    """`root` with all that it extends and includes, and the dialect of the whole."""
    if not any(key.text in ("extends", "include") for key, _ in root.pairs):
        return root, defaults_of(root)
    folder = sources.folder
    trail = () if folder is None else ((folder / Path(sources.names[0]).name).resolve(),)
    return _Merger(sources, report).resolve(root, trail)


_Resolved = tuple[Mapping, Defaults]


class _Merger:
    def __init__(self, sources: Sources, report: Report) -> None:
        self._sources = sources
        self._report = report
        self._known: dict[Path, _Resolved | None] = {}  # None: it had a mistake
        self._included: set[Path] = set()

    def resolve(self, root: Mapping, trail: tuple[Path, ...]) -> _Resolved:
        """`root`, the file at the end of `trail`, with the files that it names."""
        bases = [resolved for _, resolved in self._files(root, "extends", trail)]
        own = Mapping(root.line, root.column)
        own.pairs = [p for p in root.pairs if p[0].text not in ("extends", "include")]
        for path, (part, _) in self._files(root, "include", trail):
            if path not in self._included:  # two files may include a third
                self._included.add(path)
                own = self._added(own, part)
        whole = reduce(merged, [*(base for base, _ in bases), own])
        spoken = [defaults_of(root), *(defaults for _, defaults in bases)]
        return whole, EXECUTIONER if EXECUTIONER in spoken else OURS

    def _files(
        self, root: Mapping, field: str, trail: tuple[Path, ...]
    ) -> list[tuple[Path, _Resolved]]:
        found = []
        for key, node in root.pairs:
            if key.text != field or (isinstance(node, Scalar) and node.is_nothing):
                continue
            if isinstance(node, Mapping):
                self._report.add(node, (field,), f"{field}: expected a list of files")
                continue
            for i, item in enumerate(items_of(node)):
                path = self._find(item, (field, i), trail)
                part = None if path is None else self._read(path, item, (field, i), trail)
                if path is not None and part is not None:
                    found.append((path, part))
        return found

    def _find(self, item: Node, place: Place, trail: tuple[Path, ...]) -> Path | None:
        field = place[0]
        if not isinstance(item, Scalar):
            self._report.add(item, place, f"{field}: expected the path of a file")
            return None
        if not trail:
            self._report.add(item, place, f"{field}: only a document in a file can name others")
            return None
        if "${" in item.text:
            message = "files are put together before parameters and variables are filled in"
            self._report.add(item, place, f"{field}: {message}")
            return None
        try:
            path = self._sources.find(item.text, trail[-1].parent)
        except Unusable as error:
            self._report.add(item, place, f"{field}: {item.text[:200]!r}: {error.message}")
            return None
        if path in trail:
            circle = [p.name for p in (*trail[trail.index(path) :], path)]
            message = f"{field}: files name each other in a circle: {' → '.join(circle)}"
            self._report.add(item, place, message)
            return None
        if len(trail) >= MAX_DEPTH:
            self._report.add(item, place, f"{field}: files are nested deeper than {MAX_DEPTH}")
            return None
        return path

    def _read(
        self, path: Path, item: Node, place: Place, trail: tuple[Path, ...]
    ) -> _Resolved | None:
        if path in self._known:
            return self._known[path]
        self._known[path] = None
        try:
            root = self._sources.read_further(path)
        except Unusable as error:
            if error.line:
                number = len(self._sources.names) - 1
                self._report.add(position_in(number, error.line, error.column), (), error.message)
            else:
                assert isinstance(item, Scalar), "it was found"
                message = f"{place[0]}: {item.text[:200]!r} {error.message}"
                self._report.add(item, place, message)
            return None
        self._known[path] = self.resolve(root, (*trail, path))
        return self._known[path]

    def _added(self, own: Mapping, part: Mapping) -> Mapping:
        """`own`, and what an included file adds to it."""
        taken = Mapping(part.line, part.column)
        for key, value in part.pairs:
            field = PIPELINE.fields.get(key.text)
            if is_comment(key.text) or (
                field is not None and field.place in ("name", "description")
            ):
                continue
            if field is not None and field.place not in INCLUDABLE:
                adds = "an included file adds jobs, stages, env and params"
                message = f"{adds}; for {key.text!r}, extend it instead"
                self._report.add(key, (key.text,), message)
                continue
            taken.pairs.append((key, value))
        return _merged(taken, own, PIPELINE, _joined)


def merged(base: Mapping, over: Mapping) -> Mapping:
    """The pipeline of `base`, with what `over` says instead."""
    return _merged(base, over, PIPELINE, _over)


def _merged(base: Mapping, over: Mapping, table: Table | None, jobs: "_Join") -> Mapping:
    whole = Mapping(over.line, over.column)
    said = {_place(key, table) for key, _ in over.pairs}
    said |= _inner_places(over, table)
    if table is not None and said & table.alternatives:
        said |= table.alternatives
    kept: dict[str, Pair] = {}  # what both say, if it can be merged
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


_Join = Callable[[Node, Node], Node]


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
