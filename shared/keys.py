"""The two secrets of an installation: the key that signs tokens, and the enrolment secret.

Both are made on first start in the data directory, by whichever daemon is first, or are given as
files.
"""

from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from shared.errors import Misconfigured
from shared.runtime import Runtime
from shared.secret_files import (
    create_once,
    load_enrolment_secret,
    read_enrolment_secret,
    read_whole,
)


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
        create_once(signing_key_file, lambda: _new_signing_key(runtime), runtime)
    secret = (
        load_enrolment_secret(folder, runtime)
        if enrolment_secret_file is None
        else read_enrolment_secret(enrolment_secret_file)
    )
    return Keys(signing=read_signing_key(signing_key_file), enrolment_secret=secret)


def read_signing_key(path: Path) -> Ed25519PrivateKey:
    """The key in the file. Misconfigured: there is none."""
    pem = read_whole(path)
    try:
        key = serialization.load_pem_private_key(pem, password=None)
    except Exception:  # cryptography raises many kinds, some of them with the file's content
        raise Misconfigured(f"{path} is not an unencrypted private key in PEM") from None
    if not isinstance(key, Ed25519PrivateKey):
        raise Misconfigured(f"{path} is not an Ed25519 key")
    return key


def _new_signing_key(runtime: Runtime) -> bytes:
    seed = sha256(b"drawbar signing key\0" + runtime.new_secret().encode()).digest()
    return Ed25519PrivateKey.from_private_bytes(seed).private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
