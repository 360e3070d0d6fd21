"""Runs whose end is told, and a postman who tells it."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from jobstore.app import new_postman
from jobstore.notifications.postman import Postman
from jobstore.notifications.settings import MailRoute, NotificationSettings
from shared.ids import RunId
from shared.protocol.notifications import NotificationView
from tests.support.jobstore import Hands, a_job
from tests.support.mail import Mailbox

SECRET = "a secret of more than 16 characters"
ENDS = ("success", "failure", "cancelled")


def by_mail(box: Mailbox, **settings: Any) -> NotificationSettings:
    return NotificationSettings(
        mail=MailRoute("127.0.0.1", box.port), mail_from="drawbar@example.com", **settings
    )


@asynccontextmanager
async def postman(hands: Hands, settings: NotificationSettings) -> AsyncIterator[Postman]:
    found = new_postman(hands.service, settings, hands.runtime)
    await found.start()
    try:
        yield found
    finally:
        await found.stop()


async def a_run(hands: Hands, exit_code: int = 1, **notify: Any) -> RunId:
    """It has ended, and `notify` said who is to hear of that."""
    run_id = await hands.submit(a_job("one"), notify={"on": ENDS, **notify})
    await hands.do(exit_code)
    return run_id


async def told(
    hands: Hands, settings: NotificationSettings, run_id: RunId
) -> tuple[NotificationView, ...]:
    """Each was tried once."""
    async with postman(hands, settings) as man:
        return tuple(await man.attend(run_id, 10))


async def until_tried(hands: Hands, man: Postman, run_id: RunId, tries: int) -> Any:
    """The first notification has been tried so often; time passes as it must."""
    while True:
        man._was_tried.clear()
        (notification, *_) = (await hands.service.list_notifications(run_id)).notifications
        if notification.tries >= tries:
            return notification
        await hands.runtime.advance(1)
        if man._sending:
            await man._was_tried.wait()


@dataclass
class Receiver:
    """A web server that keeps what it was sent."""

    url: str = ""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    requests: list[tuple[str, dict[str, str], bytes]] = field(default_factory=list)
    answer: bytes = b"ok"

    async def take(self, request: web.Request) -> web.StreamResponse:
        self.requests.append((request.path, dict(request.headers), await request.read()))
        return web.Response(status=self.status, headers=self.headers, body=self.answer)

    @property
    def body(self) -> Any:
        return json.loads(self.requests[-1][2])
