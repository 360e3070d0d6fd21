"""One e-mail about one run, to one address."""

import ssl
from collections.abc import Mapping, Sequence
from datetime import datetime
from email.message import EmailMessage
from email.utils import format_datetime
from socket import gethostname
from typing import Final

import aiosmtplib

from jobstore.notifications.errors import NotSent, connect_problem
from jobstore.notifications.settings import MailRoute
from jobstore.notifications.words import News, headline
from shared.ids import JobId
from shared.protocol.jobs import AttemptView
from shared.reports.document import markdown
from shared.reports.facts import one_line
from shared.reports.page import html

LONGEST: Final = 300  # characters of what a server said
HERE: Final = ("localhost", "127.0.0.1", "::1")


def write_mail(
    news: News,
    attempts: Mapping[JobId, Sequence[AttemptView]],
    to: str,
    sender: str | None,
) -> EmailMessage:
    """The report as text, as HTML, and as a page to be opened: mail programs show no chart."""
    run = news.run
    message = addressed(headline(news), news.delivery, run.ended_at, to, sender)
    message.set_content(markdown(run, attempts))
    page = html(run, attempts)
    message.add_alternative(page, subtype="html")
    message.add_attachment(page, subtype="html", filename=f"run-{run.run_id}.html")
    return message


def addressed(
    subject: str, delivery: str, at: datetime | None, to: str, sender: str | None
) -> EmailMessage:
    """A message without a body."""
    message = EmailMessage()
    message["Subject"] = subject
    message["From"] = sender or f"drawbar@{gethostname()}"
    message["To"] = to
    if at is not None:
        message["Date"] = format_datetime(at)
    # The same for every try: a mail program shows what came twice only once.
    domain = str(message["From"]).rpartition("@")[2].strip(">")
    message["Message-ID"] = f"<drawbar.{delivery}@{domain}>"
    message["Auto-Submitted"] = "auto-generated"  # RFC 3834: nobody's holiday notice answers it
    return message


async def send_mail(
    message: EmailMessage, to: str, route: MailRoute, tls: ssl.SSLContext, patience_s: float
) -> None:
    """The server has taken the message. A password is sent only over TLS, or to this machine."""
    has_password = route.user is not None and route.password is not None
    must_encrypt = has_password and not route.is_tls and route.host not in HERE
    try:
        await aiosmtplib.send(
            message,
            recipients=[to],
            hostname=route.host,
            port=route.port,
            username=route.user if has_password else None,
            password=route.password if has_password else None,
            timeout=patience_s,
            use_tls=route.is_tls,
            start_tls=None if not (must_encrypt or route.is_tls) else must_encrypt,
            tls_context=tls,
        )
    except aiosmtplib.SMTPRecipientsRefused as refused:
        first = refused.recipients[0]
        raise NotSent(_said(first.code, first.message, route), is_final=first.code >= 500) from None
    except aiosmtplib.SMTPDataError as error:
        raise NotSent(_said(error.code, error.message, route), is_final=error.code >= 500) from None
    except aiosmtplib.SMTPResponseException as error:
        raise NotSent(_said(error.code, error.message, route)) from None
    except (aiosmtplib.SMTPException, OSError) as error:
        raise NotSent(f"{route.host}:{route.port}: {_plainly(error, must_encrypt)}") from None
    except ValueError as error:  # an address that cannot be put into a header
        raise NotSent(f"the message cannot be written: {error}", is_final=True) from None


def _said(code: int, message: str, route: MailRoute) -> str:
    """What the server answered, cut, and without the password should it repeat that."""
    text = one_line(message)
    if route.password:
        text = text.replace(route.password, "…")
    return f"{route.host}:{route.port} said {code} {text}"[:LONGEST]


def _plainly(error: Exception, must_encrypt: bool) -> str:
    if isinstance(error, TimeoutError):
        return "it did not answer in time"
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted: {error.verify_message}"
    if isinstance(error, aiosmtplib.SMTPException) and "STARTTLS" in str(error) and must_encrypt:
        return "it offers no STARTTLS, and a password is not sent in the clear"
    if isinstance(error, aiosmtplib.SMTPServerDisconnected):
        return "it closed the connection"
    cause = error.__cause__ or error
    if isinstance(cause, OSError) and cause.errno and not isinstance(cause, ssl.SSLError):
        return connect_problem(cause)
    return one_line(str(cause))[:LONGEST] or type(cause).__name__
