"""What the services of `drawbar run` log goes beside their data, not between the progress."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from drawbar.cli.failures import is_debugging
from shared.errors import Misconfigured
from shared.logs import configure
from shared.runtime import Runtime


@contextmanager
def logging_beside(data: Path, runtime: Runtime) -> Iterator[None]:
    """Warnings and errors go to `run.log`; with DRAWBAR_DEBUG everything goes to stderr."""
    if is_debugging():
        configure(runtime, level="debug", stream=sys.stderr)
        yield
        return
    path = data / "run.log"
    try:
        file = path.open("w", encoding="utf-8", errors="backslashreplace")
    except OSError as error:
        raise Misconfigured(f"cannot write {path}: {(error.strerror or '').lower()}") from None
    with file:
        configure(runtime, level="warning", stream=file, as_json=True)
        yield
