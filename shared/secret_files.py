"""Secrets that are texts in files: the enrolment secret, and those that sign or seal.

Each is made in the data directory by whoever needs it first, or is given as a file. A file appears
whole or not at all, so that daemons which start together agree. The key that signs tokens is
made here as well (shared/keys.py): a worker needs none of what that imports.
"""

import base64
import hmac
import os
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Final

from shared.errors import Misconfigured
from shared.runtime import Runtime

MIN_SECRET_CHARS: Final = 16
MAX_FILE_BYTES: Final = 16_384  # a key in PEM has 119


def load_enrolment_secret(folder: Path, runtime: Runtime) -> str:
    """What workers enrol with, made when there is none yet."""
    path = folder / "enrolment.secret"
    create_once(path, lambda: runtime.new_secret().encode(), runtime)
    return read_enrolment_secret(path)


def read_enrolment_secret(path: Path) -> str:
    """The secret in the file; white space around it does not count."""
    return _read_secret(path, "an enrolment secret")


def read_webhook_secret(path: Path) -> str:
    return _read_secret(path, "a webhook secret")


def _read_secret(path: Path, what: str) -> str:
    try:
        secret = read_whole(path).decode("ascii").strip()
    except UnicodeDecodeError:
        raise Misconfigured(f"{path} is not {what}: it is not plain ASCII") from None
    if len(secret) < MIN_SECRET_CHARS:
        raise Misconfigured(
            f"{path} is not {what}: it has fewer than {MIN_SECRET_CHARS} characters"
        )
    return secret


def load_webhook_secret(folder: Path, runtime: Runtime) -> str:
    """The secret that signs webhooks, made when there is none yet: receivers are given a copy."""
    path = folder / "webhook.secret"
    create_once(path, lambda: runtime.new_secret().encode(), runtime)
    return _read_secret(path, "a webhook secret")


def is_same_secret(given: str, expected: str) -> bool:
    """Takes as long for a wrong secret as for the right one."""
    return hmac.compare_digest(
        given.encode("utf-8", "surrogateescape"), expected.encode("utf-8", "surrogateescape")
    )


def load_secrets_key(folder: Path, runtime: Runtime) -> str:
    """What `folder` has to encrypt variables and connections with, made if it is not there yet."""
    path = folder / "secrets.key"
    create_once(path, lambda: _new_secrets_key(runtime), runtime)
    return read_whole(path).decode("ascii", "replace")


def add_secrets_key(path: Path, runtime: Runtime) -> str:
    """A new key stands above those in the file, which is whole at every moment; the new line."""
    line = _new_secrets_key(runtime)
    temporary = path.with_name(f".{path.name}.{runtime.new_id()}")
    content = line + read_whole(path)
    try:
        _write_new(temporary, content)
        os.rename(temporary, path)
        _sync_folder(path.parent)
    except OSError as error:
        raise Misconfigured(f"cannot write {path}: {error.strerror}", path=str(path)) from None
    return line.decode()


def _new_secrets_key(runtime: Runtime) -> bytes:
    seed = sha256(b"drawbar secrets key\0" + runtime.new_secret().encode()).digest()
    return base64.urlsafe_b64encode(seed) + b"\n"


def read_whole(path: Path) -> bytes:
    """The file's bytes, of which secrets have few. Misconfigured: it cannot be read."""
    try:
        with path.open("rb") as file:
            return file.read(MAX_FILE_BYTES)
    except OSError as error:
        raise Misconfigured(f"cannot read {path}: {error.strerror}", path=str(path)) from None


def create_once(path: Path, make: Callable[[], bytes], runtime: Runtime) -> None:
    """`path` exists, readable by its owner only; whoever linked it first decided its content."""
    if path.exists():
        return
    temporary = path.with_name(f".{path.name}.{runtime.new_id()}")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        _write_new(temporary, make())
        try:
            os.link(temporary, path)
        except FileExistsError:
            pass  # another daemon was first, and its file is whole: use that
        finally:
            os.unlink(temporary)
        _sync_folder(path.parent)
    except OSError as error:
        raise Misconfigured(f"cannot create {path}: {error.strerror}", path=str(path)) from None


def _write_new(path: Path, content: bytes) -> None:
    """The file is new, whole on disk, and readable by its owner only."""
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        os.write(fd, content)
        os.fsync(fd)
    finally:
        os.close(fd)


def _sync_folder(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
