"""What `drawbar variables rotate-keys` does."""

import base64
import os
from pathlib import Path

import typer

from drawbar.cli.connect import asking_jobs
from drawbar.cli.failures import Usage
from drawbar.cli.places import data_dir
from drawbar.cli.render.objects import write_json
from drawbar.cli.render.words import count
from shared.errors import Misconfigured
from shared.runtime import SystemRuntime
from shared.secret_files import add_secrets_key


def rotate_keys(new: bool, server: str | None, data: Path | None, as_json: bool) -> None:
    file = key_file(data)
    made = _new_key(file) if new else None
    turned = asking_jobs(lambda jobs, _: jobs.values.rotate_keys(), server, data, only_looks=True)
    if made is not None and turned.first_key != made:
        raise Misconfigured(
            f"the new key was put into {file}, but the job service reads its keys elsewhere:"
            " everything is sealed with its own first key, as before"
        )
    if as_json:
        write_json(turned.model_dump(mode="json"))
        return
    sealed = count(turned.sealed, "value")
    typer.echo(f"{sealed} sealed with key {turned.first_key}")
    if turned.keys > 1:
        others = count(turned.keys - 1, "older key")
        typer.echo(f"{others} below it, needed only for backups that were made before")


def key_file(data: Path | None) -> Path:
    named = os.environ.get("DRAWBAR_SECRETS_KEY_FILE")
    return Path(named) if named else data_dir(data) / "keys" / "secrets.key"


def _new_key(file: Path) -> str:
    """A key stands above those in the file; its fingerprint."""
    from jobstore.execution_data.vault import fingerprint, parse_keys

    if os.environ.get("DRAWBAR_SECRETS_KEY"):
        raise Usage(
            "the keys come from DRAWBAR_SECRETS_KEY: put a new one before the old one there,"
            " start the job service again, and rotate without --new"
        )
    if not file.exists():
        raise Usage(f"there is no key file {file}: run this where the job service has its keys")
    line = add_secrets_key(file, SystemRuntime())
    (key,) = parse_keys(line)
    assert base64.urlsafe_b64encode(key).decode() == line.strip(), "as it was written"
    return fingerprint(key)
