"""The database of a job service, only read: beside the service that writes it, or as a copy."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final
from urllib.parse import quote

from shared.errors import Misconfigured

CHAINED_SINCE: Final = 20  # the schema version


def store_folder(data: Path) -> Path:
    """Where jobs.db is: in the data directory, or in a copy of the job service's own folder.

    Misconfigured: there is none.
    """
    for folder in (data / "jobstore", data):
        if (folder / "jobs.db").is_file():
            return folder
    raise Misconfigured(
        f"{data} has no jobstore/jobs.db: name the data directory of a job service with --data",
        path=str(data),
    )


@contextmanager
def opened(folder: Path) -> Iterator[sqlite3.Connection]:
    """One unchanging view of the database, whoever writes it meanwhile. Misconfigured."""
    path = folder / "jobs.db"
    uri = f"file:{quote(str(path.resolve()))}?mode=ro"
    try:
        conn = _connected(path, uri)
    except sqlite3.Error as error:
        raise _unreadable(path, error) from None
    try:
        yield conn
    except sqlite3.DatabaseError as error:
        raise _unreadable(path, error) from None
    finally:
        conn.close()


def _connected(path: Path, uri: str) -> sqlite3.Connection:
    wal = path.with_name(f"{path.name}-wal")
    if not wal.exists():  # nobody has it open; SQLite would make files beside it to read it
        uri += "&immutable=1"
    conn = sqlite3.connect(uri, uri=True, isolation_level=None)
    try:
        conn.execute("PRAGMA query_only = ON")
        conn.execute("BEGIN")
        (version,) = conn.execute("PRAGMA user_version").fetchone()
        if version < CHAINED_SINCE:
            raise Misconfigured(
                f"{path} was last used by an older drawbar, which did not chain events: start the"
                " job service of this one on it once",
                path=str(path),
            )
        conn.execute("SELECT count(*) FROM chain_start").fetchone()  # the view is fixed from here
    except BaseException:
        conn.close()
        raise
    return conn


def _unreadable(path: Path, error: sqlite3.Error) -> Misconfigured:
    return Misconfigured(
        f"{path} cannot be read ({error}): if it is damaged, restore it from a backup",
        path=str(path),
    )
