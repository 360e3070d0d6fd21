"""Checks that a worker's owner or a pipeline brings along.

Owners install a package with an entry point of the group `drawbar.checks`. Pipelines name files
in `plugins` (`dependency_plugins`), which count only below a folder that the worker allows; their
public functions are checks. Call this only in a process that may run foreign code.
"""

import os
import sys
from collections.abc import Mapping, Sequence
from types import FunctionType
from typing import Final

from worker.checks.contract import Check
from worker.checks.params import nearest
from worker.checks.shipped import SHIPPED

GROUP: Final = "drawbar.checks"


class NoSuchCheck(Exception):
    """The check cannot be had; the message says why, and what there is."""


class OwnChecks:
    """Those of installed packages, then those of the pipeline's files."""

    def __init__(self, plugins: Sequence[str], allowed_dirs: Sequence[str], cwd: str) -> None:
        self._plugins = plugins
        self._allowed = [os.path.realpath(folder) for folder in allowed_dirs]
        self._cwd = cwd

    def find(self, name: str) -> Check:
        """NoSuchCheck. Anything may come out of an import."""
        import site
        from importlib.metadata import entry_points

        site.main()  # the program was started without what is installed
        installed = {entry.name: entry for entry in entry_points(group=GROUP)}
        if name in installed:
            found: Check = installed[name].load()
            return found
        known = [*SHIPPED, *installed]
        for plugin in self._plugins:
            checks = _checks_of(self._locate(plugin))
            if name in checks:
                return checks[name]
            known += checks
        raise NoSuchCheck(f"there is no check {name!r}{nearest(name, known)}")

    def _locate(self, plugin: str) -> str:
        """The real path of the file, which is allowed."""
        if not self._allowed:
            raise NoSuchCheck(
                f"the plugin {plugin!r} is not allowed here: this worker was started without "
                "--allow-plugins DIR"
            )
        places = [os.path.join(folder, plugin) for folder in (*self._allowed, self._cwd)]
        for place in map(os.path.realpath, places):
            if not os.path.isfile(place):
                continue
            if any(os.path.commonpath([place, folder]) == folder for folder in self._allowed):
                return place
            raise NoSuchCheck(
                f"the plugin {plugin!r} is not allowed here: it is in none of this worker's "
                f"--allow-plugins folders ({', '.join(self._allowed)})"
            )
        raise NoSuchCheck(
            f"the plugin {plugin!r} does not exist, neither in {', '.join(self._allowed)} "
            f"nor in the job's working directory"
        )


def _checks_of(path: str) -> Mapping[str, Check]:
    """The functions that the file defines, by name. The file has been run."""
    import importlib.util

    spec = importlib.util.spec_from_file_location("drawbar_plugin", path)
    if spec is None or spec.loader is None:
        raise NoSuchCheck(f"the plugin {path!r} is no Python file: its name must end with .py")
    module = importlib.util.module_from_spec(spec)
    sys.path.insert(0, os.path.dirname(path))  # for what it imports from beside it
    spec.loader.exec_module(module)
    return {
        name: member
        for name, member in vars(module).items()
        if isinstance(member, FunctionType)
        and member.__module__ == module.__name__
        and not name.startswith("_")
    }
