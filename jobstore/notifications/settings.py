"""How this job service reaches people: its mail server, its webhook secret, where it may send."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

from shared.errors import Misconfigured
from shared.protocol.pipeline import MailServer
from shared.runtime import Runtime
from shared.secret_files import load_webhook_secret, read_webhook_secret

EXAMPLE: Final = "smtp://user@mail.example.com:587"
PORTS: Final = {"smtp": 25, "smtps": 465}
MAX_PASSWORD_BYTES: Final = 4_096


@dataclass(frozen=True, slots=True)
class MailRoute:
    """A mail server and how to log in there."""

    host: str
    port: int
    user: str | None = None
    password: str | None = field(default=None, repr=False)
    is_tls: bool = False  # from the first byte; otherwise STARTTLS, where it is offered

    @classmethod
    def of(cls, server: MailServer) -> "MailRoute":
        """The server that a document names."""
        is_tls = server.port == PORTS["smtps"]
        return cls(server.host, server.port, server.user, server.password, is_tls)


@dataclass(frozen=True, slots=True)
class NotificationSettings:
    """Of one job service."""

    mail: MailRoute | None = None
    mail_from: str | None = None  # None: drawbar@ this machine
    webhook_secret: str | None = field(default=None, repr=False)  # None: webhooks are not signed
    patience_s: float = 20.0  # for each answer of a mail server, and the one of a webhook
    hosts: tuple[str, ...] = ()  # that may be sent to; *.example.com for all below; empty: any

    def allows(self, host: str) -> bool:
        host = host.lower().rstrip(".")
        return not self.hosts or any(
            host.endswith(allowed[1:]) if allowed.startswith("*.") else host == allowed
            for allowed in self.hosts
        )


def notification_settings(
    smtp: str | None,
    mail_from: str | None,
    hosts: Sequence[str],
    keys: Path,
    runtime: Runtime,
    env: Mapping[str, str] = os.environ,
) -> NotificationSettings:
    """Options, with the secrets that only files and the environment hold. Misconfigured.

    Where no webhook secret is given, one is made in the folder `keys`.
    """
    return NotificationSettings(
        mail=None if not smtp else parse_smtp(smtp, _password(env)),
        mail_from=checked_sender(mail_from) if mail_from else None,
        webhook_secret=_webhook_secret(env, keys, runtime),
        hosts=tuple(host.lower() for host in hosts),
    )


def parse_smtp(url: str, password: str | None = None) -> MailRoute:
    """smtp:// or smtps://[user[:password]@]host[:port]. The error never quotes the URL."""
    try:
        parts = urlsplit(url)
        port, host = parts.port, parts.hostname
    except ValueError:
        parts, port, host = urlsplit(""), None, None
    if parts.scheme not in PORTS or not host or parts.path not in ("", "/") or port == 0:
        raise Misconfigured(f"--smtp takes a URL like {EXAMPLE} (smtps:// for TLS from the start)")
    return MailRoute(
        host=host,
        port=port or PORTS[parts.scheme],
        user=None if parts.username is None else unquote(parts.username),
        password=password or (None if parts.password is None else unquote(parts.password)),
        is_tls=parts.scheme == "smtps",
    )


def checked_sender(address: str) -> str:
    name, at, domain = address.partition("@")
    if not (name and at and domain and address.isprintable() and " " not in address):
        raise Misconfigured(f"--mail-from takes an e-mail address, found {address!r}")
    return address


def _webhook_secret(env: Mapping[str, str], keys: Path, runtime: Runtime) -> str:
    named = env.get("DRAWBAR_WEBHOOK_SECRET_FILE")
    if named:
        return read_webhook_secret(Path(named))
    return load_webhook_secret(keys, runtime)


def _password(env: Mapping[str, str]) -> str | None:
    """The variable, or the content of the file that its sibling names."""
    named = env.get("DRAWBAR_SMTP_PASSWORD_FILE")
    if not named:
        return env.get("DRAWBAR_SMTP_PASSWORD") or None
    try:
        with Path(named).open("rb") as file:
            return file.read(MAX_PASSWORD_BYTES).decode().strip() or None
    except OSError as error:
        raise Misconfigured(f"cannot read {named}: {error.strerror}", path=named) from None
    except UnicodeDecodeError:
        raise Misconfigured(f"{named} holds no password: it is not text") from None
