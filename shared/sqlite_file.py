"""A SQLite file: its settings, its schema, and what is said when it cannot be used."""

import os
import sqlite3
from importlib.resources.abc import Traversable

from shared.errors import StoreUnusable


def configure(conn: sqlite3.Connection) -> None:
    """Nobody else may read the file, and what this connection commits is durable."""
    (_, _, path) = conn.execute("PRAGMA database_list").fetchone()
    os.chmod(path, 0o600)
    conn.execute("PRAGMA journal_mode = WAL")
    conn.execute("PRAGMA synchronous = FULL")  # an acknowledged commit survives a loss of power
    conn.execute("PRAGMA foreign_keys = OFF")  # the store keeps its references itself
    conn.execute("PRAGMA cache_size = -16000")


def migrate(conn: sqlite3.Connection, migrations: Traversable) -> None:
    """The schema is the newest; each numbered file was applied once, in order, atomically."""
    files = sorted((f for f in migrations.iterdir() if f.name.endswith(".sql")), key=_number)
    newest = _number(files[-1])
    (version,) = conn.execute("PRAGMA user_version").fetchone()
    if version > newest:
        raise StoreUnusable(
            f"the database has schema version {version}, this program knows {newest}: "
            "start a newer drawbar, or name another data directory"
        )
    (verdict,) = conn.execute("PRAGMA quick_check(1)").fetchone()
    if verdict != "ok":
        raise StoreUnusable(
            f"the database is damaged ({verdict}): restore it from a backup, "
            "or name another data directory"
        )
    for file in files:
        if _number(file) > version:
            conn.executescript(
                f"BEGIN IMMEDIATE; {file.read_text()}; "
                f"PRAGMA user_version = {_number(file)}; COMMIT;"
            )


def _number(file: Traversable) -> int:
    return int(file.name.split("_")[0])


def explain(error: Exception) -> str:
    """What the error means to whoever runs the daemon, and what to do about it."""
    text = str(error)
    hints = {
        "file is not a database": "this is not a database of drawbar: "
        "move the file away, or name another data directory",
        "malformed": "the database is damaged: restore it from a backup, "
        "or name another data directory",
        "readonly": "the data directory is not writable: check its owner and mode",
        "unable to open": "the data directory is not writable: check its owner and mode",
        "Permission denied": "the data directory is not writable: check its owner and mode",
        "locked": "another process has this database open: stop it, or name another data directory",
    }
    hint = next((h for word, h in hints.items() if word in text), None)
    return f"{hint} ({text})" if hint else text
