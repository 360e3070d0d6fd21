"""A document on disk → the canonical pipeline, or all of its mistakes at once.

Each syntax is parsed into the same nodes (nodes.py), the files of a document are put together
(merging.py), and each dialect is read through the same table (fields.py). A file that does not
parse has one mistake; every other one is read to its end.
"""

import gc
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Final

from drawbar.document.assembly import Wishes, assemble
from drawbar.document.composing import put_together
from drawbar.document.mistakes import BadDocument, Located, Report
from drawbar.document.sources import MAX_BYTES, Sources, Unusable
from shared.protocol.pipeline import PipelineSpec

_NONE: Final[Mapping[str, str]] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Loaded:
    """A pipeline that can run, the text that it was read from, and what of it has no effect."""

    spec: PipelineSpec
    source: str  # of the first file
    notes: tuple[Located, ...] = ()
    files: tuple[str, ...] = ()


def load(
    path: Path | str, params: Mapping[str, str] = _NONE, env: Mapping[str, str] = _NONE
) -> Loaded:
    """The pipeline in the file at `path`; .json and .toml tell the syntax, all else is YAML.

    A .py file is a flow: it is run, in a process of its own, and draws its pipeline.
    `params` are values for its parameters, `env` variables that win over all of its own.
    BadDocument: it cannot be read, or has mistakes.
    """
    try:
        with Path(path).open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        reason = (getattr(error, "strerror", None) or str(error)).lower()
        raise _unusable(str(path), Unusable(0, f"cannot be read: {reason}")) from None
    if str(path).endswith(".py"):
        from drawbar.document.python_source import draw_pipeline

        text = data.decode("utf-8", "replace")  # Python itself tells what is wrong with it
        return Loaded(draw_pipeline(str(path), params, env), text, files=(str(path),))
    return _load(data, str(path), Path(path).parent, params, env)


def load_text(
    text: str | bytes,
    file: str = "pipeline.yaml",
    params: Mapping[str, str] = _NONE,
    env: Mapping[str, str] = _NONE,
) -> Loaded:
    """The pipeline in `text`; `file` names it in messages and tells its syntax, as in `load`."""
    return _load(text, file, None, params, env)


@contextmanager
def _uncollected() -> Iterator[None]:
    """No search for cycles meanwhile. Reading makes many objects and no cycles; each search would
    go through all of them, and take a third of the time of a large document."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


@_uncollected()
def _load(
    data: str | bytes,
    file: str,
    folder: Path | None,
    params: Mapping[str, str],
    env: Mapping[str, str],
) -> Loaded:
    sources = Sources(file, folder)
    report = Report(sources.names)
    try:
        root = sources.read_first(data)
    except Unusable as error:
        raise _unusable(file, error) from None
    root, defaults = put_together(root, sources, report)
    report.raise_if_any()  # what is not there would be missed everywhere
    wishes = Wishes(
        name=Path(file).stem,
        params=params,
        env=env,
        defaults=defaults,
        has_templates=any("{{" in text for text in sources.texts),
    )
    spec = assemble(root, wishes, report)
    report.raise_if_any()
    assert spec is not None, "no mistake was reported"
    if folder is not None and any(job.task is not None for job in spec.jobs):
        from drawbar.document.functions import with_modules  # few documents have functions

        spec = with_modules(spec, folder, file)
    return Loaded(spec, sources.texts[0], report.notes, tuple(sources.names))


def _unusable(file: str, error: Unusable) -> BadDocument:
    return BadDocument(file, [Located(error.line, error.column, "", error.message, file)])
