"""The keys of an installation, and the tokens that this command makes with them."""

import os
from pathlib import Path
from typing import Final

from drawbar.cli.places import data_dir
from shared.keys import Keys, load_keys, read_enrolment_secret
from shared.runtime import Runtime, SystemRuntime
from shared.tokens import Minter, Role

DAY_S: Final = 86_400.0


def make_token(role: str, name: str, days: float, data: Path | None) -> str:
    """A client token of this installation."""
    runtime = SystemRuntime()
    keys = keys_of(data_dir(data), runtime)
    return Minter(keys.signing, runtime).client(name, Role(role), days * DAY_S)


def keys_of(place: Path, runtime: Runtime) -> Keys:
    """Those in `place`, or in the files that the environment names; made where there are none."""
    return load_keys(
        place / "keys",
        runtime,
        signing_key_file=_named("DRAWBAR_SIGNING_KEY_FILE"),
        enrolment_secret_file=_named("DRAWBAR_ENROLMENT_SECRET_FILE"),
    )


def enrolment_secret_of(place: Path, runtime: Runtime) -> str:
    """A worker needs no signing key: on another machine it is given the secret alone."""
    named = _named("DRAWBAR_ENROLMENT_SECRET_FILE")
    return read_enrolment_secret(named) if named else keys_of(place, runtime).enrolment_secret


def _named(variable: str) -> Path | None:
    value = os.environ.get(variable)
    return Path(value) if value else None
