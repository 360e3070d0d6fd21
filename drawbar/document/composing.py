"""`extends` and `include`: several files become one mapping before anything is read from it.

What one file says over another is in merging.py.
"""

from functools import reduce
from pathlib import Path
from typing import Final

from drawbar.document.dialects import EXECUTIONER, OURS, Defaults, defaults_of
from drawbar.document.fields import INCLUDABLE, PIPELINE
from drawbar.document.merging import added, merged
from drawbar.document.mistakes import Path as Place
from drawbar.document.mistakes import Report
from drawbar.document.nodes import Mapping, Node, Scalar
from drawbar.document.readers import items_of
from drawbar.document.sources import Sources, Unusable, position_in
from drawbar.document.tables import is_comment

MAX_DEPTH: Final = 16

_Resolved = tuple[Mapping, Defaults]


def put_together(root: Mapping, sources: Sources, report: Report) -> tuple[Mapping, Defaults]:
    """`root` with all that it extends and includes, and the dialect of the whole."""
    if not any(key.text in ("extends", "include") for key, _ in root.pairs):
        return root, defaults_of(root)
    folder = sources.folder
    trail = () if folder is None else ((folder / Path(sources.names[0]).name).resolve(),)
    return _Merger(sources, report).resolve(root, trail)


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
                own = added(own, self._includable(part))
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

    def _includable(self, part: Mapping) -> Mapping:
        """What an included file may say; the rest is reported."""
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
        return taken
