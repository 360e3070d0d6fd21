"""Where this command keeps or finds its files."""

import os
from pathlib import Path


def data_dir(given: Path | None) -> Path:
    """The data directory: what was given, else $DRAWBAR_DATA, else the user's own."""
    named = given or os.environ.get("DRAWBAR_DATA")
    if named:
        return Path(named).expanduser().absolute()
    return own_data_dir()


def own_data_dir() -> Path:
    """The user's own: what a command takes that was told nothing."""
    base = os.environ.get("XDG_DATA_HOME") or "~/.local/share"
    return Path(base).expanduser() / "drawbar"
