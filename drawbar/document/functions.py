"""`python: module:function` in a document: the module, and what it imports from beside it, travel.

A module that lies beside the document goes along, packed and named by its hash, as the modules of a
flow do. Nothing is run to find it: imports are read from the source. Any other module is one that
is installed where the worker runs.
"""

import ast
import base64
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from drawbar.document.mistakes import BadDocument, Located
from drawbar.sdk.bundle import BadBundle, pack_files
from shared.pipeline_rules import nearest
from shared.protocol.pipeline import BundleSpec, JobSpec, PipelineSpec

MOST_FILES: Final = 1_000


class _Unfit(Exception):
    """The function cannot be what the job runs; the message says why."""


def with_modules(spec: PipelineSpec, folder: Path, file: str) -> PipelineSpec:
    """The pipeline with the files of its functions. BadDocument: one cannot be read, or has none
    of that name."""
    found: dict[str, Path] = {}
    homes: dict[str, Path] = {}  # of modules that lie beside the document
    for job in spec.jobs:
        if job.task is None:
            continue
        home = _beside(folder, job.task.module)
        if home is None:
            continue
        try:
            _check(home, job.task.function)
            for path in _reached(folder, home):
                found[path.relative_to(folder).as_posix()] = path
        except _Unfit as unfit:
            raise _bad(file, f"job {job.id!r}: {unfit}") from None
        homes[job.task.module] = home
    if not homes:
        return spec
    try:
        bundle = pack_files(found)
    except BadBundle as bad:
        raise _bad(file, str(bad)) from None
    packed = BundleSpec(sha256=bundle.sha256, content=base64.urlsafe_b64decode(bundle.content))
    jobs = tuple(_placed(job, homes, bundle.sha256) for job in spec.jobs)
    return spec.model_copy(update={"bundle": packed, "jobs": jobs})


def _placed(job: JobSpec, homes: dict[str, Path], sha256: str) -> JobSpec:
    if job.task is None or job.task.module not in homes:
        return job
    # A module by itself is loaded from its file, so that it may be called like an installed one;
    # one of a package is imported by its name, as its neighbours import it.
    file = None if "." in job.task.module else homes[job.task.module].name
    if file == "__init__.py":
        file = None
    task = job.task.model_copy(update={"bundle": sha256, "file": file})
    return job.model_copy(update={"task": task})


def _beside(folder: Path, module: str) -> Path | None:
    """The file of a module below the folder, links followed; None: there is none."""
    path = folder.joinpath(*module.split("."))
    for candidate in (path.with_name(f"{path.name}.py"), path / "__init__.py"):
        if candidate.is_file() and candidate.resolve().is_relative_to(folder.resolve()):
            return candidate
    return None


def _reached(folder: Path, first: Path) -> Iterator[Path]:
    """The file, all of the packages that it and its imports are in, and so on."""
    seen: dict[Path, None] = {}
    waiting = [first]
    while waiting:
        path = waiting.pop()
        if path in seen:
            continue
        seen[path] = None
        if len(seen) > MOST_FILES:
            raise _Unfit(f"it reaches more than {MOST_FILES} files beside the document")
        top = path.relative_to(folder).parts[0]
        if (folder / top).is_dir():
            waiting += sorted(p for p in (folder / top).rglob("*.py") if p.is_file())
        for module in _imports(_parsed(path)):
            home = _beside(folder, module)
            if home is not None:
                waiting.append(home)
            elif (folder / module).is_dir():
                waiting += sorted((folder / module).rglob("*.py"))
    yield from seen


def _imports(tree: ast.Module) -> Iterator[str]:
    """The first parts of what is imported by name; relative imports stay in their package."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name.partition(".")[0]
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            yield node.module.partition(".")[0]


def _check(home: Path, function: str) -> None:
    """_Unfit: nothing at the top of the module has that name."""
    tree = _parsed(home)
    names: set[str] = set()
    for node in ast.walk(tree):
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                names.add(node.name)
            case ast.Name(ctx=ast.Store()):
                names.add(node.id)
            case ast.alias(name="*"):
                return  # whatever that brings
            case ast.alias():
                names.add(node.asname or node.name.partition(".")[0])
    first = function.partition(".")[0]
    if first not in names:
        raise _Unfit(f"{home.name} has no function {first!r}{nearest(first, sorted(names))}")


def _parsed(path: Path) -> ast.Module:
    try:
        return ast.parse(path.read_bytes(), str(path))
    except OSError as error:
        raise _Unfit(f"{path.name} cannot be read: {(error.strerror or '').lower()}") from None
    except SyntaxError as error:
        raise _Unfit(f"{path.name}:{error.lineno or 0}: {error.msg}") from None
    except (ValueError, RecursionError, MemoryError):
        raise _Unfit(f"{path.name} is no Python") from None


def _bad(file: str, message: str) -> BadDocument:
    return BadDocument(file, [Located(0, 0, "", message, file)])
