"""Encryption of variables and connections at rest.

The key is no part of the database: it comes from a file, or from the environment. Several keys may
be given: the first one seals, all of them open, so that a key can be replaced.
"""

import base64
import hashlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from shared.errors import Misconfigured
from shared.runtime import Runtime

if TYPE_CHECKING:
    from cryptography.fernet import MultiFernet

KEY_BYTES: Final = 32


class Vault:
    """Seals texts. Keys are read, and cryptography imported, when something is sealed first."""

    def __init__(self, keys: Callable[[], Sequence[bytes]]) -> None:
        self._keys = keys
        self._fernet: MultiFernet | None = None
        self._prints: list[str] = []

    def seal(self, text: str) -> bytes:
        return self._opened().encrypt(text.encode("utf-8", "surrogatepass"))

    def open(self, sealed: bytes) -> str:
        """Misconfigured: it was sealed with a key that is not here."""
        from cryptography.fernet import InvalidToken

        try:
            return self._opened().decrypt(sealed).decode("utf-8", "surrogatepass")
        except InvalidToken:
            raise Misconfigured(
                "a variable or connection was sealed with a key that is not given any more"
            ) from None

    def seal_again(self, sealed: bytes) -> bytes:
        """The same text, sealed with the first key."""
        return self.seal(self.open(sealed))

    def renewed(self) -> "Vault":
        """One that reads the keys anew. Misconfigured: they cannot be read."""
        vault = Vault(self._keys)
        vault._opened()
        return vault

    def become(self, renewed: "Vault") -> None:
        """From now on this seals and opens as that one does."""
        self._fernet, self._prints = renewed._fernet, renewed._prints

    def fingerprints(self) -> list[str]:
        """Of each key, in their order."""
        self._opened()
        return self._prints

    def _opened(self) -> "MultiFernet":
        if self._fernet is None:
            from cryptography.fernet import Fernet, MultiFernet

            keys = self._keys()
            self._fernet = MultiFernet([Fernet(base64.urlsafe_b64encode(key)) for key in keys])
            self._prints = [fingerprint(key) for key in keys]
        return self._fernet


def keys_from(
    folder: Path, runtime: Runtime, environ: Mapping[str, str]
) -> Callable[[], list[bytes]]:
    """Where an installation has its keys: in the environment, in a file that it names, or in
    `folder`, where one is made at the first need."""

    def load() -> list[bytes]:
        from shared.secret_files import load_secrets_key

        if text := environ.get("DRAWBAR_SECRETS_KEY"):
            return parse_keys(text)
        if name := environ.get("DRAWBAR_SECRETS_KEY_FILE"):
            try:
                return parse_keys(Path(name).read_text())
            except (OSError, UnicodeDecodeError) as error:
                raise Misconfigured(f"cannot read {name}: {error}") from None
        return parse_keys(load_secrets_key(folder, runtime))

    return load


def fingerprint(key: bytes) -> str:
    """Tells keys apart, and nothing about them."""
    return hashlib.sha256(b"drawbar key\0" + key).hexdigest()[:12]


def no_keys() -> list[bytes]:
    raise Misconfigured("this job service has no key for variables and connections")


def parse_keys(text: str) -> list[bytes]:
    """Keys as they stand in a file or variable: base64, one a line or separated by commas."""
    keys = []
    for word in text.replace(",", " ").split():
        try:
            key = base64.urlsafe_b64decode(word.replace("+", "-").replace("/", "_"))
        except ValueError:
            key = b""
        if len(key) != KEY_BYTES:
            raise Misconfigured(f"a key for secrets has {KEY_BYTES} bytes, in base64")
        keys.append(key)
    if not keys:
        raise Misconfigured("there is no key for secrets where one was to be")
    return keys
