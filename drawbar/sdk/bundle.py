"""The files of a flow, packed so that they can travel to workers: the flow file itself, modules
that it imported from its own folder, and what the pipeline includes.

The same files make the same bytes, in any order of import and at any time, so that their hash
names them.
"""

from __future__ import annotations

import base64
import hashlib
import io
import os
import sys
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path

MAX_BYTES = 4 * 1024 * 1024
EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest that a zip archive can name


class BadBundle(Exception):
    """The files cannot be packed; the message names one and says why."""


class Bundle:
    """Packed files, and which module is in which of them."""

    def __init__(self, packed: bytes, modules: Mapping[str, str]) -> None:
        self.sha256 = hashlib.sha256(packed).hexdigest()
        self.content = base64.urlsafe_b64encode(packed).decode()
        self._modules = modules

    def file_of(self, module: str) -> str | None:
        """The file from which the module is loaded; None: it is imported, wherever it is."""
        return self._modules.get(module)


def pack(flow: Path, module: str, include: Iterable[str]) -> Bundle:
    """BadBundle: a file cannot be read, does not exist or lies elsewhere, or all are too large."""
    folder = flow.parent
    files = {flow.name: flow}
    for found in _imported_from(folder):
        files[found.relative_to(folder).as_posix()] = found
    for pattern in include:
        files |= _included(folder, pattern)
    return Bundle(_packed(files), {module: flow.name})


def pack_files(files: Mapping[str, Path]) -> Bundle:
    """These, each under its name; no module is loaded from its file. BadBundle: as above."""
    return Bundle(_packed(files), {})


def _imported_from(folder: Path) -> list[Path]:
    """Modules of this process that came from below the flow's folder, and belong to no
    environment that happens to be there."""
    environments = {os.path.realpath(p) for p in (sys.prefix, sys.base_prefix)}
    found = []
    for module in list(sys.modules.values()):
        name = getattr(module, "__file__", None)
        if not isinstance(name, str) or not name.endswith(".py"):
            continue
        path = Path(os.path.realpath(name))
        if not path.is_relative_to(folder) or module.__name__.partition(".")[0] == "drawbar":
            continue
        inside = any(path.is_relative_to(root) for root in environments if root != "/usr")
        if not inside and "site-packages" not in path.parts:
            found.append(path)
    return found


def _included(folder: Path, pattern: str) -> dict[str, Path]:
    if pattern.startswith(("/", "~")) or ".." in Path(pattern).parts:
        raise BadBundle(f"include {pattern!r}: only files below the flow's own folder can travel")
    found = {
        path.relative_to(folder).as_posix(): path
        for path in sorted(folder.glob(pattern))
        if path.is_file() and os.path.realpath(path).startswith(f"{folder}/")
    }
    if not found:
        raise BadBundle(f"include {pattern!r}: there is no such file")
    return found


def _packed(files: Mapping[str, Path]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in sorted(files):
            entry = zipfile.ZipInfo(name, EPOCH)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = 0o100644 << 16
            try:
                archive.writestr(entry, files[name].read_bytes())
            except OSError as error:
                raise BadBundle(f"{name}: {error.strerror}") from None
            if buffer.tell() > MAX_BYTES:
                raise BadBundle(
                    f"the files of its tasks have more than {MAX_BYTES} bytes when packed"
                )
    return buffer.getvalue()
