"""The two secrets of an installation: the key that signs tokens, and the enrolment secret.

Both are made on first start in the data directory, by whichever daemon is first, or are given as
files. A file appears whole or not at all, so that daemons which start together agree.
"""

import base64
import hmac
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from shared.errors import Misconfigured
from shared.runtime import Runtime

MIN_SECRET_CHARS: Final = 16
MAX_FILE_BYTES: Final = 16_384  # a key in PEM has 119


@dataclass(frozen=True, slots=True)
class Keys:
    """Never shown, not even by repr."""

    signing: Ed25519PrivateKey = field(repr=False)
    enrolment_secret: str = field(repr=False)


def load_keys(
    folder: Path,
    runtime: Runtime,
    *,
    signing_key_file: Path | None = None,
    enrolment_secret_file: Path | None = None,
) -> Keys:
    """The keys given as files, else those in `folder`, made when they are not there yet."""
    if signing_key_file is None:
        signing_key_file = folder / "signing.pem"
        _create_once(signing_key_file, lambda: _new_signing_key(runtime), runtime)
    if enrolment_secret_file is None:
        enrolment_secret_file = folder / "enrolment.secret"
        _create_once(enrolment_secret_file, lambda: runtime.new_secret().encode(), runtime)
    return Keys(
        signing=read_signing_key(signing_key_file),
        enrolment_secret=read_enrolment_secret(enrolment_secret_file),
    )


def load_secrets_key(folder: Path, runtime: Runtime) -> str:
    """What `folder` has to encrypt variables and connections with, made if it is not there yet."""
    path = folder / "secrets.key"

    def make() -> bytes:
        seed = sha256(b"drawbar secrets key\0" + runtime.new_secret().encode()).digest()
        return base64.urlsafe_b64encode(seed) + b"\n"

    _create_once(path, make, runtime)
    return _read(path).decode("ascii", "replace")


def read_signing_key(path: Path) -> Ed25519PrivateKey:
    """The key in the file. Misconfigured: there is none."""
    pem = _read(path)
    try:
        key = serialization.load_pem_private_key(pem, password=None)
    except Exception:  # cryptography raises many kinds, some of them with the file's content
        raise Misconfigured(f"{path} is not an unencrypted private key in PEM") from None
    if not isinstance(key, Ed25519PrivateKey):
        raise Misconfigured(f"{path} is not an Ed25519 key")
    return key


def read_enrolment_secret(path: Path) -> str:
    """The secret in the file; white space around it does not count."""
    return _read_secret(path, "an enrolment secret")


def read_webhook_secret(path: Path) -> str:
    return _read_secret(path, "a webhook secret")


def _read_secret(path: Path, what: str) -> str:
    try:
        secret = _read(path).decode("ascii").strip()
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
    _create_once(path, lambda: runtime.new_secret().encode(), runtime)
    return _read_secret(path, "a webhook secret")


def is_same_secret(given: str, expected: str) -> bool:
    """Takes as long for a wrong secret as for the right one."""
    return hmac.compare_digest(
        given.encode("utf-8", "surrogateescape"), expected.encode("utf-8", "surrogateescape")
    )


def _new_signing_key(runtime: Runtime) -> bytes:
    seed = sha256(b"drawbar signing key\0" + runtime.new_secret().encode()).digest()
    return Ed25519PrivateKey.from_private_bytes(seed).private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(MAX_FILE_BYTES)
    except OSError as error:
        raise Misconfigured(f"cannot read {path}: {error.strerror}", path=str(path)) from None


def _create_once(path: Path, make: Callable[[], bytes], runtime: Runtime) -> None:
    """`path` exists, readable by its owner only; whoever linked it first decided its content."""
    if path.exists():
        return
    temporary = path.with_name(f".{path.name}.{runtime.new_id()}")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            os.write(fd, make())
            os.fsync(fd)
        finally:
            os.close(fd)
        try:
            os.link(temporary, path)
        except FileExistsError:
            pass  # another daemon was first, and its file is whole: use that
        finally:
            os.unlink(temporary)
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as error:
        raise Misconfigured(f"cannot create {path}: {error.strerror}", path=str(path)) from None
