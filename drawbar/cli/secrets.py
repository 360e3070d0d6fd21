"""Where this command finds secrets that it is not told."""

import os
from pathlib import Path

from shared.runtime import Runtime
from shared.secret_files import load_enrolment_secret, read_enrolment_secret


def enrolment_secret_of(place: Path, runtime: Runtime) -> str:
    """A worker needs no signing key: on another machine it is given the secret alone."""
    named = file_named_by("DRAWBAR_ENROLMENT_SECRET_FILE")
    return read_enrolment_secret(named) if named else load_enrolment_secret(place / "keys", runtime)


def file_named_by(variable: str) -> Path | None:
    value = os.environ.get(variable)
    return Path(value) if value else None
