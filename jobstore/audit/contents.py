"""Whether logs and blobs hold the bytes whose hashes the database names."""

import hashlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from jobstore.artifacts import path_of as blob_path
from jobstore.audit.finding import CHANGED, FILE, Finding
from jobstore.logs import path_of as log_path
from shared.ids import AttemptId

PIECE_BYTES: Final = 1 << 20


class Contents:
    """The files of one store. A blob that many runs use is read once."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._blobs: dict[str, str | None] = {}  # hash → what is wrong with the blob
        self.hashed = 0

    def check(self, conn: sqlite3.Connection, run_id: int) -> Iterator[Finding]:
        """Findings of the run's logs, artifacts, large values and bundles."""
        for attempt_id, job_id, inline, size, sha256 in conn.execute(
            "SELECT attempt.id, job.id, log_inline, log_size, log_sha256 FROM job"
            " JOIN attempt ON attempt.job_seq = job.seq"
            " WHERE job.run_id = ? AND log_sha256 IS NOT NULL",
            (run_id,),
        ):
            if inline is not None:
                if (len(inline), hashlib.sha256(inline).hexdigest()) != (size, sha256):
                    what = f"the log of attempt {attempt_id} is not the one that was reported"
                    yield Finding(what, CHANGED, None, job_id)
            elif size and (wrong := self._wrong(log_path(AttemptId(attempt_id)), sha256, size)):
                what = f"the log of attempt {attempt_id}, {wrong}"
                yield Finding(what, FILE, None, job_id, file=True)
        for job_id, what, sha256, size in conn.execute(
            "SELECT job.id, 'artifact ' || path, sha256, size_bytes FROM job"
            " JOIN attempt ON attempt.job_seq = job.seq OR attempt.id = job.attempt_id"
            " JOIN artifact ON artifact.attempt_id = attempt.id WHERE job.run_id = ?1"
            " UNION ALL SELECT job.id, 'value ' || key, sha256, size_bytes FROM job"
            " JOIN attempt ON attempt.job_seq = job.seq"
            " JOIN xcom ON xcom.attempt_id = attempt.id AND sha256 IS NOT NULL"
            " WHERE job.run_id = ?1"
            " UNION ALL SELECT NULL, 'the files of its tasks', sha256, NULL FROM bundle"
            " WHERE run_id = ?1",
            (run_id,),
        ):
            if wrong := self._wrong_blob(sha256, size):
                yield Finding(f"{what}, {wrong}", FILE, None, job_id, file=True)

    def _wrong_blob(self, sha256: str, size: int | None) -> str | None:
        if sha256 not in self._blobs:
            self._blobs[sha256] = self._wrong(blob_path(sha256), sha256, size)
        return self._blobs[sha256]

    def _wrong(self, path: str, sha256: str, size: int | None) -> str | None:
        """What is wrong with the file; None: nothing."""
        name = f"files/{path}"
        digest, read = hashlib.sha256(), 0
        try:
            with (self._folder / "files" / path).open("rb") as file:
                while piece := file.read(PIECE_BYTES):
                    digest.update(piece)
                    read += len(piece)
        except FileNotFoundError:
            return f"{name}, is missing"
        except OSError as error:
            return f"{name}, cannot be read: {error.strerror}"
        self.hashed += 1
        if size is not None and read != size:
            return f"{name}, has {read} bytes, {size} were reported"
        if digest.hexdigest() != sha256:
            return f"{name}, holds other bytes than were reported"
        return None
