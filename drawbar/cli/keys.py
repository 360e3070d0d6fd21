"""The keys of an installation, and the tokens that this command makes with them."""

from pathlib import Path
from typing import Final

from drawbar.cli.places import data_dir
from drawbar.cli.secrets import file_named_by
from shared.keys import Keys, load_keys
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
        signing_key_file=file_named_by("DRAWBAR_SIGNING_KEY_FILE"),
        enrolment_secret_file=file_named_by("DRAWBAR_ENROLMENT_SECRET_FILE"),
    )
