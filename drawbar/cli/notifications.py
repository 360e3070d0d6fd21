"""Options that say how people are told of the ends of runs."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from drawbar.cli.failures import Usage
from shared.errors import Misconfigured

if TYPE_CHECKING:  # most commands tell nobody
    from jobstore.notifications.settings import NotificationSettings
    from shared.runtime import Runtime

Smtp = Annotated[
    str | None,
    typer.Option(
        "--smtp",
        metavar="URL",
        envvar="DRAWBAR_SMTP_URL",
        help="The mail server for notifications: smtp://user@host:587, or smtps://. "
        "The password: DRAWBAR_SMTP_PASSWORD, or DRAWBAR_SMTP_PASSWORD_FILE.",
        show_default=False,
    ),
]
MailFrom = Annotated[
    str | None,
    typer.Option(
        "--mail-from",
        metavar="ADDRESS",
        envvar="DRAWBAR_MAIL_FROM",
        help="The sender of mail. Default: drawbar@ this machine.",
        show_default=False,
    ),
]
NotifyHosts = Annotated[
    list[str] | None,
    typer.Option(
        "--notify-host",
        metavar="HOST",
        envvar="DRAWBAR_NOTIFY_HOSTS",
        help="Send notifications only there; *.example.com for all below. May be repeated.",
        show_default=False,
    ),
]


@dataclass(frozen=True, slots=True)
class Telling:
    """The options, as they were given."""

    smtp: str | None
    mail_from: str | None
    hosts: tuple[str, ...]

    def settings(self, place: Path, runtime: "Runtime") -> "NotificationSettings":
        """With the secrets of the data directory `place` and of the environment."""
        from jobstore.notifications.settings import notification_settings

        try:
            return notification_settings(
                self.smtp, self.mail_from, self.hosts, place / "keys", runtime
            )
        except Misconfigured as error:
            raise Usage(error.message) from None
