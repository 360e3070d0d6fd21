"""Where a container engine listens. Light: `drawbar run` asks before anything is loaded for it."""

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

HOST: Final = "DOCKER_HOST"
KNOWN: Final = re.compile(r"unix:///.+|(?:tcp|https?)://[^/\s]+/?")
SHAPES: Final = "unix:///path/of/the.sock or tcp://host:port"


def find_engine(wish: str | None, environ: Mapping[str, str]) -> str | None:
    """The address of the engine to use: the one wished for, $DOCKER_HOST, or the first of the
    usual sockets that is there. None: there is none."""
    named = wish or environ.get(HOST)
    if named:
        return named
    for path in usual_sockets(environ):
        if path.is_socket() and os.access(path, os.R_OK | os.W_OK):
            return f"unix://{path}"
    return None


def usual_sockets(environ: Mapping[str, str]) -> Iterator[Path]:
    """Where Docker and Podman listen when nobody says otherwise; one's own before the system's."""
    own = environ.get("XDG_RUNTIME_DIR")
    if own:
        yield Path(own, "docker.sock")
        yield Path(own, "podman", "podman.sock")
    home = environ.get("HOME")
    if home:
        yield Path(home, ".docker", "run", "docker.sock")
    yield Path("/var/run/docker.sock")
    yield Path("/run/podman/podman.sock")


def is_address(text: str) -> bool:
    """Whether an engine may listen there. (ssh:// needs a library that a worker does not have.)"""
    return KNOWN.fullmatch(text) is not None
