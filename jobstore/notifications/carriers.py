"""What takes one notification to where it goes, once. Trying again is the postman's."""

import asyncio
import json
import ssl
from collections.abc import Mapping, Sequence
from typing import Any, Final, Protocol

import structlog

from jobstore.notifications import asking, words
from jobstore.notifications.errors import NotSent
from jobstore.notifications.mail import send_mail, write_mail
from jobstore.notifications.outbox import Notification
from jobstore.notifications.settings import MailRoute, NotificationSettings
from jobstore.notifications.states import NotificationKind
from jobstore.notifications.webhook import Web, host_of
from shared.errors import UnknownRun
from shared.ids import JobId, RunId
from shared.protocol.jobs import AttemptList, AttemptView, RunView
from shared.protocol.questions import QuestionView
from shared.runtime import Runtime

log = structlog.get_logger()

SEND_S: Final = 60.0  # for the whole of one try
RETRIED: Final = 50  # jobs whose single attempts a report shows


class Looking(Protocol):
    """What carriers need of the job service."""

    async def show_run(self, run_id: RunId) -> RunView: ...

    async def list_attempts(self, run_id: RunId, job_id: JobId) -> AttemptList: ...


class Carriers:
    """By e-mail, and over HTTP."""

    def __init__(self, jobs: Looking, settings: NotificationSettings, runtime: Runtime) -> None:
        self._jobs = jobs
        self._settings = settings
        self._web = Web(settings, runtime)
        self._runtime = runtime
        self._tls: ssl.SSLContext | None = None

    async def close(self) -> None:
        await self._web.close()

    def lane(self, notification: Notification) -> str:
        """Where it goes first. A server that is slow must hold up only what goes there."""
        if notification.kind is NotificationKind.EMAIL:
            route = self._route(notification)
            return "mail" if route is None else f"mail:{route.host}:{route.port}"
        return host_of(notification.target)

    async def send(self, notification: Notification) -> None:
        """It was taken by the other side. NotSent says why it was not."""
        try:
            async with asyncio.timeout(SEND_S):
                await self._send(notification)
        except TimeoutError:
            raise NotSent(f"it took longer than {SEND_S:g} s") from None

    async def _send(self, notification: Notification) -> None:
        try:
            run = await self._jobs.show_run(notification.run_id)
        except UnknownRun:
            raise NotSent("the run was pruned before this could be sent", is_final=True) from None
        delivery = f"{notification.run_id}-{notification.id}-{notification.created_at}"
        tls = await self._trust()
        if notification.question is not None:
            await self._ask(notification, notification.question, run, delivery, tls)
            return
        news = words.News(run, notification.run_status, delivery)
        if notification.kind is NotificationKind.EMAIL:
            await self._mail(notification, news, tls)
        elif notification.kind is NotificationKind.WEBHOOK:
            await self._web.post_signed(
                notification.target, _body(words.webhook(news)), delivery, tls
            )
        else:
            write = words.slack if notification.kind is NotificationKind.SLACK else words.teams
            await self._web.post(notification.target, _body(write(news)), {}, tls)

    async def _ask(
        self,
        notification: Notification,
        asked: QuestionView,
        run: RunView,
        delivery: str,
        tls: ssl.SSLContext,
    ) -> None:
        """A question is worth telling while it is open."""
        waiting = next((job.deferral for job in run.jobs if job.id == asked.job_id), None)
        if waiting is None or waiting.since != asked.asked_at:
            raise NotSent("it was no longer asked when this could be sent", is_final=True)
        to = notification.target
        if notification.kind is NotificationKind.EMAIL:
            route = self._open_route(notification)
            message = asking.mail(asked, delivery, to, self._settings.mail_from)
            await send_mail(message, to, route, tls, self._settings.patience_s)
        elif notification.kind is NotificationKind.WEBHOOK:
            body = _body(asking.webhook(asked, delivery))
            await self._web.post_signed(to, body, delivery, tls)
        else:
            write = asking.slack if notification.kind is NotificationKind.SLACK else asking.teams
            await self._web.post(to, _body(write(asked)), {}, tls)

    async def _mail(
        self, notification: Notification, news: words.News, tls: ssl.SSLContext
    ) -> None:
        route = self._open_route(notification)
        attempts = await self._attempts(news.run)
        message = write_mail(news, attempts, notification.target, self._settings.mail_from)
        await send_mail(message, notification.target, route, tls, self._settings.patience_s)

    def _open_route(self, notification: Notification) -> MailRoute:
        """NotSent: there is none that may be taken."""
        route = self._route(notification)
        if route is None:
            raise NotSent("there is no mail server: name one with --smtp or DRAWBAR_SMTP_URL")
        if not self._settings.allows(route.host):
            raise NotSent(f"{route.host} is not among the hosts that may be sent to")
        return route

    async def _trust(self) -> ssl.SSLContext:
        """What this machine trusts; SSL_CERT_FILE and SSL_CERT_DIR say what that is."""
        if self._tls is None:
            self._tls = await self._runtime.offload(ssl.create_default_context)
        return self._tls

    def _route(self, notification: Notification) -> MailRoute | None:
        if notification.mail_server is not None:
            return MailRoute.of(notification.mail_server)
        return self._settings.mail

    async def _attempts(self, run: RunView) -> Mapping[JobId, Sequence[AttemptView]]:
        again = [job.id for job in run.jobs if job.attempts > 1][:RETRIED]
        return {
            job_id: (await self._jobs.list_attempts(run.run_id, job_id)).attempts
            for job_id in again
        }


def _body(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode("utf-8", "replace")
