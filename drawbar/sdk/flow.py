"""Loading a flow file as a module, the same way where its graph is drawn and where a task runs."""

from __future__ import annotations

import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType


def module_name(file: Path) -> str:
    """Under which a flow file is known to its own functions."""
    return file.stem


def load_module(file: Path, name: str, folder: Path) -> ModuleType:
    """The file was run as the module `name`; what it imports is looked for in `folder` first.

    A name that is taken (a flow may be called json.py) stays what it is for everybody else.
    """
    sys.path.insert(0, str(folder))
    spec = spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise ImportError(f"{file} is no Python file")
    module = module_from_spec(spec)
    sys.modules.setdefault(name, module)
    spec.loader.exec_module(module)
    return module
