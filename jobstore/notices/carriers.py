"""What takes one notification to where it goes, once. Trying again is the postman's."""

import asyncio
import json
import ssl
from collections.abc import Mapping, Sequence
from typing import Any, Final, Protocol

import structlog

from jobstore.notices import words
from jobstore.notices.errors import NotSent
from jobstore.notices.mail import send_mail, write_mail
from jobstore.notices.outbox import Notice
from jobstore.notices.settings import MailRoute, NoticeSettings
from jobstore.notices.states import NoticeKind
from jobstore.notices.webhook import Web, host_of
from shared.errors import UnknownRun
from shared.ids import JobId, RunId
from shared.protocol.jobs import AttemptList, AttemptView, RunView
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

    def __init__(self, jobs: Looking, settings: NoticeSettings, runtime: Runtime) -> None:
        self._jobs = jobs
        self._settings = settings
        self._web = Web(settings, runtime)
        self._runtime = runtime
        self._tls: ssl.SSLContext | None = None

    async def close(self) -> None:
        await self._web.close()

    def lane(self, notice: Notice) -> str:
        """Where it goes first. A server that is slow must hold up only what goes there."""
        if notice.kind is NoticeKind.EMAIL:
            route = self._route(notice)
            return "mail" if route is None else f"mail:{route.host}:{route.port}"
        return host_of(notice.target)

    async def send(self, notice: Notice) -> None:
        """It was taken by the other side. NotSent says why it was not."""
        try:
            async with asyncio.timeout(SEND_S):
                await self._send(notice)
        except TimeoutError:
            raise NotSent(f"it took longer than {SEND_S:g} s") from None

    async def _send(self, notice: Notice) -> None:
        try:
            run = await self._jobs.show_run(notice.run_id)
        except UnknownRun:
            raise NotSent("the run was pruned before this could be sent", is_final=True) from None
        delivery = f"{notice.run_id}-{notice.id}-{notice.created_at}"
        tls = await self._trust()
        news = words.News(run, notice.run_status, delivery)
        if notice.kind is NoticeKind.EMAIL:
            await self._mail(notice, news, tls)
        elif notice.kind is NoticeKind.WEBHOOK:
            await self._web.post_signed(notice.target, _body(words.webhook(news)), delivery, tls)
        else:
            write = words.slack if notice.kind is NoticeKind.SLACK else words.teams
            await self._web.post(notice.target, _body(write(news)), {}, tls)

    async def _mail(self, notice: Notice, news: words.News, tls: ssl.SSLContext) -> None:
        route = self._route(notice)
        if route is None:
            raise NotSent("there is no mail server: name one with --smtp or DRAWBAR_SMTP_URL")
        if not self._settings.allows(route.host):
            raise NotSent(f"{route.host} is not among the hosts that may be sent to")
        attempts = await self._attempts(news.run)
        message = write_mail(news, attempts, notice.target, self._settings.mail_from)
        await send_mail(message, notice.target, route, tls, self._settings.patience_s)

    async def _trust(self) -> ssl.SSLContext:
        """What this machine trusts; SSL_CERT_FILE and SSL_CERT_DIR say what that is."""
        if self._tls is None:
            self._tls = await self._runtime.offload(ssl.create_default_context)
        return self._tls

    def _route(self, notice: Notice) -> MailRoute | None:
        if notice.mail_server is not None:
            return MailRoute.of(notice.mail_server)
        return self._settings.mail

    async def _attempts(self, run: RunView) -> Mapping[JobId, Sequence[AttemptView]]:
        again = [job.id for job in run.jobs if job.attempts > 1][:RETRIED]
        return {
            job_id: (await self._jobs.list_attempts(run.run_id, job_id)).attempts
            for job_id in again
        }


def _body(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode("utf-8", "replace")
