"""Who hears of what tasks ask: from a receiver's and a mail server's point of view."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from jobstore.app import new_postman
from jobstore.notifications.settings import MailRoute, NotificationSettings
from shared.http.server import Server
from shared.ids import JobId, RunId
from shared.protocol import execution as e
from shared.protocol import gateway as g
from shared.protocol.notifications import NotificationView
from shared.protocol.pipeline import JobSpec
from shared.protocol.questions import AnswerRequest
from tests.support.jobstore import Hands, hands_on
from tests.support.mail import Mailbox, mail_server

WAIT = e.Defer(
    trigger=e.TriggerSpec(
        kind="question",
        params={
            "question": "Deploy <now>?",
            "choices": ["yes", "no  thanks"],
            "fields": [{"name": "reason", "label": "Why"}],
        },
    ),
    next_method="told",
    arguments={},
    timeout_s=3_600,
    on_timeout=None,
)
COMMAND = "drawbar answer 1 deploy yes|'no  thanks' --set reason=VALUE"


@pytest.fixture
async def asking(tmp_path: Path) -> AsyncIterator[Hands]:
    async with hands_on(tmp_path) as opened:
        yield opened


async def ask(hands: Hands, **notify: Any) -> RunId:
    """A task has asked, and waits; `notify` said who hears of that."""
    job = JobSpec.model_validate({"id": "deploy", "task": {"module": "f", "function": "deploy"}})
    run_id = await hands.submit(job, notify={"on": ("question",), **notify})
    await hands.finish(await hands.start(), outcome=g.Outcome.TASK_ENDED, task=WAIT)
    return run_id


async def told(
    hands: Hands, run_id: RunId, settings: NotificationSettings | None = None
) -> list[NotificationView]:
    """Each was tried once."""
    postman = new_postman(hands.service, settings or NotificationSettings(), hands.runtime)
    await postman.start()
    try:
        return await postman.attend(run_id, 10)
    finally:
        await postman.stop()


async def test_a_question_is_posted_with_the_command_that_answers_it(asking: Hands) -> None:
    bodies: dict[str, Any] = {}

    async def take(request: web.Request) -> web.Response:
        bodies[request.path] = json.loads(await request.read())
        return web.Response()

    app = web.Application()
    app.router.add_post("/{path:.*}", take)
    server = Server(app, "127.0.0.1", 0, linger_s=0.05)
    await server.start()
    to = {kind: f"{server.url}/{kind}" for kind in ("webhook", "slack", "teams")}

    sent = await told(asking, await ask(asking, **to))
    await server.stop()

    assert {(view.about, view.status) for view in sent} == {("question", "sent")}
    assert bodies["/webhook"]["event"] == "question.asked"
    assert bodies["/webhook"]["question"]["question"] == "Deploy <now>?"
    assert bodies["/webhook"]["answer_with"] == COMMAND
    assert "asks: Deploy &lt;now&gt;?*" in bodies["/slack"]["text"]
    assert bodies["/slack"]["text"].endswith("--set reason=VALUE`")
    assert "reason: Why (text)" in json.dumps(bodies["/teams"])


async def test_a_question_is_mailed(asking: Hands) -> None:
    run_id = await ask(asking, email=("ann@example.com",))

    async with mail_server(Mailbox()) as box:
        route = MailRoute("127.0.0.1", box.port)
        await told(asking, run_id, NotificationSettings(mail=route, mail_from="d@example.com"))

    (mail,) = box.mails
    assert "asks: Deploy <now>?" in str(mail["Subject"])
    assert COMMAND in mail.get_content()


async def test_only_who_wants_to_hear_of_questions_does(asking: Hands) -> None:
    run_id = await ask(asking, on=("failure",), email=("ann@example.com",))

    assert await told(asking, run_id) == []


async def test_a_question_that_was_answered_is_told_to_nobody(asking: Hands) -> None:
    run_id = await ask(asking, webhook="http://127.0.0.1:1/")
    answer = AnswerRequest(
        run_id=run_id, job_id=JobId("deploy"), by="ann", choice="yes", values={"reason": "r"}
    )
    await asking.service.answer(answer)

    (view,) = await told(asking, run_id)

    assert (view.status, view.error) == ("failed", "it was no longer asked when this could be sent")
