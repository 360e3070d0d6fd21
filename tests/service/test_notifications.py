"""Who hears of the end of a run: from a real mail server's and a real receiver's point of view."""

import asyncio
import hashlib
import hmac
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from jobstore.app import new_postman
from jobstore.notifications.carriers import Carriers
from jobstore.notifications.outbox import Notification, Outbox
from jobstore.notifications.postman import GIVE_UP_S, Postman
from jobstore.notifications.settings import MailRoute, NotificationSettings
from jobstore.notifications.states import NotificationEvent
from shared.errors import BadPipeline, StoreFailed, UnknownRun
from shared.http.server import Server
from shared.ids import RunId
from shared.protocol import jobs as j
from shared.protocol.notifications import NotificationView
from shared.sqlite import Database
from tests.support.carriers import over_http
from tests.support.jobstore import Hands, a_job, hands_on
from tests.support.mail import Mailbox, mail_server, silent_server, throwaway_certificate
from tests.support.runtime import ManualRuntime

SECRET = "a secret of more than 16 characters"
ENDS = ("success", "failure", "cancelled")


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


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    found = Receiver()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", found.take)
    server = Server(app, "127.0.0.1", 0, linger_s=0.05)
    await server.start()
    found.url = server.url
    yield found
    await server.stop()


@pytest.fixture
async def box() -> AsyncIterator[Mailbox]:
    async with mail_server(Mailbox()) as box:
        yield box


@pytest.fixture
async def hands(tmp_path: Path) -> AsyncIterator[Hands]:
    async with hands_on(tmp_path) as hands:
        yield hands


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


# -- which ends ---------------------------------------------------------------------------------


@pytest.mark.parametrize("exit_code", [0, 1])
@pytest.mark.parametrize("on", [("success",), ("failure",), ENDS, ()])
async def test_only_the_ends_that_were_asked_for_are_told(
    hands: Hands, exit_code: int, on: tuple[str, ...]
) -> None:
    run_id = await a_run(hands, exit_code, on=on, email=("ann@example.com",))

    found = (await hands.service.list_notifications(run_id)).notifications

    assert len(found) == (("failure" if exit_code else "success") in on)


async def test_a_cancelled_run_is_told_of(hands: Hands) -> None:
    notify = {"on": ("cancelled",), "email": ("ann@example.com",)}
    run_id = await hands.submit(a_job("one"), notify=notify)
    await hands.service.cancel(j.CancelRequest(run_id=run_id))

    assert len((await hands.service.list_notifications(run_id)).notifications) == 1


async def test_what_is_to_be_told_is_as_durable_as_the_end_itself(tmp_path: Path) -> None:
    runtime = ManualRuntime()
    async with hands_on(tmp_path, runtime) as hands:
        run_id = await a_run(hands, email=("ann@example.com",))
    async with mail_server(Mailbox()) as box, hands_on(tmp_path, runtime) as hands:
        (sent,) = await told(hands, by_mail(box), run_id)

    assert (sent.status, len(box.mails)) == ("sent", 1)


# -- e-mail ---------------------------------------------------------------------------------------


async def test_a_mail_tells_of_the_run_as_text_and_as_a_page(hands: Hands, box: Mailbox) -> None:
    run_id = await a_run(hands, email=("ann@example.com",))

    (sent,) = await told(hands, by_mail(box), run_id)

    (mail,) = box.mails
    assert (sent.kind, sent.to, sent.status, sent.tries) == ("email", "ann@example.com", "sent", 1)
    assert sent.sent_at == hands.runtime.now()
    assert "test: run 1 failed" in mail["Subject"]
    assert (mail["From"], mail["To"]) == ("drawbar@example.com", "ann@example.com")
    text, page = mail.get_body(("plain",)), mail.get_body(("html",))
    assert text is not None
    assert "one" in text.get_content()
    assert page is not None
    assert "<html" in page.get_content()
    (attached,) = mail.iter_attachments()
    assert attached.get_filename() == "run-1.html"


async def test_each_of_several_receivers_gets_one_and_a_bad_one_delays_no_other(
    hands: Hands, box: Mailbox
) -> None:
    box.refused["bad@example.com"] = "550 no such mailbox"
    addresses = ("ann@example.com", "bad@example.com", "ben@example.com", "ann@example.com")
    run_id = await a_run(hands, email=addresses)

    found = {
        notification.to: notification for notification in await told(hands, by_mail(box), run_id)
    }

    assert {to: notification.status for to, notification in found.items()} == {
        "ann@example.com": "sent",
        "ben@example.com": "sent",
        "bad@example.com": "failed",
    }
    assert "550 no such mailbox" in (found["bad@example.com"].error or "")
    assert sorted(mail["To"] for mail in box.mails) == ["ann@example.com", "ben@example.com"]


async def test_where_starttls_is_offered_it_is_used(
    hands: Hands, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    certificate, tls = throwaway_certificate(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    run_id = await a_run(hands, email=("ann@example.com",))

    async with mail_server(Mailbox(), tls=tls, wants_login=True) as box:
        route = MailRoute("127.0.0.1", box.port, "drawbar", "right")
        (sent,) = await told(hands, NotificationSettings(mail=route), run_id)

    assert (sent.status, box.secured, box.logins) == ("sent", [True], [("drawbar", "right")])


async def test_a_certificate_that_is_not_trusted_gets_no_mail(hands: Hands, tmp_path: Path) -> None:
    _, tls = throwaway_certificate(tmp_path)
    run_id = await a_run(hands, email=("ann@example.com",))

    async with mail_server(Mailbox(), tls=tls) as box:
        (waits,) = await told(hands, by_mail(box), run_id)

    assert (waits.status, box.mails) == ("waiting", [])
    assert "certificate" in (waits.error or "")


async def test_a_wrong_password_delays_and_is_never_shown(
    hands: Hands, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    certificate, tls = throwaway_certificate(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    server = {"host": "127.0.0.1", "user": "drawbar", "password": "hunter2"}

    async with mail_server(Mailbox(), tls=tls, wants_login=True) as box:
        run_id = await a_run(
            hands, email=("ann@example.com",), mail_server={**server, "port": box.port}
        )
        (waits,) = await told(hands, NotificationSettings(), run_id)

    assert waits.status == "waiting"
    assert "535" in (waits.error or "")
    events = await hands.service.list_events(run_id, after=0, limit=100)
    shown = (await hands.service.show_run(run_id)).model_dump_json()
    assert "hunter2" not in waits.model_dump_json() + events.model_dump_json() + shown


async def test_a_password_goes_to_no_other_machine_in_the_clear(hands: Hands, box: Mailbox) -> None:
    host = "localhost.localdomain"  # another name than those that stand for this machine
    route = MailRoute(host, box.port, "drawbar", "right")
    run_id = await a_run(hands, email=("ann@example.com",))

    (waits,) = await told(hands, NotificationSettings(mail=route), run_id)

    assert (waits.status, box.logins, box.mails) == ("waiting", [], [])


async def test_the_documents_own_mail_server_goes_before_the_services(
    hands: Hands, box: Mailbox
) -> None:
    own = {"host": "127.0.0.1", "port": box.port}
    run_id = await a_run(hands, email=("ann@example.com",), mail_server=own)

    (sent,) = await told(hands, NotificationSettings(mail=MailRoute("127.0.0.1", 1)), run_id)

    assert (sent.status, len(box.mails)) == ("sent", 1)


async def test_without_a_mail_server_mail_waits_for_one(hands: Hands, box: Mailbox) -> None:
    run_id = await a_run(hands, email=("ann@example.com",))

    (waits,) = await told(hands, NotificationSettings(), run_id)
    async with postman(hands, by_mail(box)) as man:
        sent = await until_tried(hands, man, run_id, 2)

    assert (waits.status, sent.status, sent.tries) == ("waiting", "sent", 2)
    assert "--smtp" in (waits.error or "")


@pytest.mark.parametrize("name", ["Übung — “x” 🚚", "a" * 200, "Bcc: x@y.z"])
async def test_any_name_of_a_pipeline_fits_into_a_mail(
    hands: Hands, box: Mailbox, name: str
) -> None:
    run_id = await hands.submit(
        a_job("one"), name=name, notify={"on": ENDS, "email": ("ann@example.com",)}
    )
    await hands.do(0)

    (sent,) = await told(hands, by_mail(box), run_id)

    assert sent.status == "sent"
    assert name in str(box.mails[0]["Subject"]).replace("\n", "")


# -- when it does not work ------------------------------------------------------------------------


async def test_a_server_that_is_down_delays_and_loses_nothing(hands: Hands) -> None:
    box = Mailbox()
    async with mail_server(box):
        pass  # its port is known, and nobody listens there
    run_id = await a_run(hands, email=("ann@example.com",))

    async with postman(hands, by_mail(box)) as man:
        (waits,) = await man.attend(run_id, 10)
        assert (waits.status, waits.tries) == ("waiting", 1)
        async with mail_server(box):
            await until_tried(hands, man, run_id, 2)

    assert len(box.mails) == 1


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


async def test_a_run_ends_though_nobody_can_be_told(hands: Hands) -> None:
    async with silent_server() as port:
        run_id = await a_run(hands, email=("ann@example.com",))
        settings = NotificationSettings(mail=MailRoute("127.0.0.1", port), patience_s=0.2)
        assert (await hands.status(run_id))["run"] == "failed"

        (waits,) = await told(hands, settings, run_id)

    assert (waits.status, waits.tries) == ("waiting", 1)
    assert "did not answer in time" in (waits.error or "")


async def test_a_server_that_hangs_holds_up_only_its_own_mail(
    hands: Hands, receiver: Receiver
) -> None:
    async with silent_server() as port:
        settings = NotificationSettings(mail=MailRoute("127.0.0.1", port), patience_s=30)
        addresses = tuple(f"a{n}@example.com" for n in range(40))
        run_id = await a_run(hands, email=addresses, webhook=receiver.url)
        async with postman(hands, settings) as man:
            await man.attend(run_id, 1)
            found = (await hands.service.list_notifications(run_id)).notifications

    assert [notification.status for notification in found if notification.kind == "webhook"] == [
        "sent"
    ]


async def test_a_server_that_goes_away_in_the_middle_is_met_again(
    hands: Hands, box: Mailbox
) -> None:
    box.goes_away = True
    run_id = await a_run(hands, email=("ann@example.com",))

    async with postman(hands, by_mail(box)) as man:
        (waits,) = await man.attend(run_id, 10)
        box.goes_away = False
        sent = await until_tried(hands, man, run_id, 2)

    assert (waits.status, sent.status, len(box.mails)) == ("waiting", "sent", 1)


@pytest.mark.parametrize(
    ("answer", "status"),
    [("451 try later", "waiting"), ("421 shutting down", "waiting"), ("554 no", "failed")],
)
async def test_a_message_that_is_refused_for_now_waits_and_one_refused_for_good_does_not(
    hands: Hands, box: Mailbox, answer: str, status: str
) -> None:
    box.answer = answer
    run_id = await a_run(hands, email=("ann@example.com",))

    (notification,) = await told(hands, by_mail(box), run_id)

    assert notification.status == status
    assert answer in (notification.error or "")


async def test_waits_grow_and_after_two_days_it_is_given_up_and_kept(hands: Hands) -> None:
    settings = NotificationSettings(mail=MailRoute("127.0.0.1", 1))
    run_id = await a_run(hands, email=("ann@example.com",))
    begin, seen = hands.runtime.mono(), []

    async with postman(hands, settings) as man:
        await man.attend(run_id, 10)
        waited = man._waits
        while waited:
            ((notification_id, wait_s),) = waited.items()
            seen.append(wait_s)
            hands.runtime._move_to(hands.runtime.mono() + wait_s + 1)  # nothing else needs it
            man._was_tried.clear()
            await man.look_once()
            await man._was_tried.wait()

    (notification,) = (await hands.service.list_notifications(run_id)).notifications
    assert notification.status == "failed"
    assert notification.tries == len(seen) + 1
    assert seen[0] == pytest.approx(10, rel=0.2)
    assert seen[1] == pytest.approx(20, rel=0.2)
    assert max(seen) <= 3_600 * 1.2
    assert len(set(seen)) == len(seen)
    assert GIVE_UP_S <= hands.runtime.mono() - begin <= GIVE_UP_S + 2 * 3_600
    assert notification_id


class HinderedOutbox(Outbox):
    """Its store refuses the first notes, or the first looks, that it is asked for."""

    def __init__(self, database: Database, *, notes: int = 0, looks: int = 0) -> None:
        super().__init__(database)
        self.notes = notes
        self.looks = looks

    async def settle(
        self,
        notification: Notification,
        event: NotificationEvent,
        *,
        error: str | None,
        waited_s: float,
    ) -> None:
        self.notes -= 1
        if self.notes >= 0:
            raise StoreFailed("the store is away")
        await super().settle(notification, event, error=error, waited_s=waited_s)

    async def waiting(self, *, after: int, limit: int) -> list[Notification]:
        self.looks -= 1
        if self.looks >= 0:
            raise StoreFailed("the store is away")
        return await super().waiting(after=after, limit=limit)


@pytest.mark.parametrize(("notes", "looks", "mails"), [(2, 0, 3), (0, 2, 1)])
async def test_a_store_that_is_away_for_a_moment_loses_nothing(
    hands: Hands, box: Mailbox, notes: int, looks: int, mails: int
) -> None:
    """What was sent and could not be noted is sent again."""
    run_id = await a_run(hands, email=("ann@example.com",))
    outbox = HinderedOutbox(hands.service._store.database, notes=notes, looks=looks)
    carriers = Carriers(hands.service, by_mail(box), hands.runtime)
    man = Postman(outbox, carriers, hands.runtime)

    await man.start()
    try:
        async with asyncio.timeout(10):
            sent = await until_tried(hands, man, run_id, 1)
        is_alive = not man.failure.done()
    finally:
        await man.stop()

    assert (sent.status, sent.tries, len(box.mails), is_alive) == ("sent", 1, mails, True)


async def test_a_run_that_is_gone_is_told_of_no_more(hands: Hands, box: Mailbox) -> None:
    await a_run(hands, email=("ann@example.com",))
    await hands.service._store.database.write(lambda tx: tx.conn.execute("DELETE FROM run"))

    async with postman(hands, by_mail(box)) as man:
        while await hands.service.outbox.has_waiting():
            man._was_tried.clear()
            await man.look_once()
            await man._was_tried.wait()

    assert not box.mails


# -- webhooks -------------------------------------------------------------------------------------


async def test_a_webhook_is_signed_over_its_time_and_body(hands: Hands, receiver: Receiver) -> None:
    run_id = await a_run(hands, webhook=f"{receiver.url}/hook?token=abc")

    (sent,) = await told(hands, NotificationSettings(webhook_secret=SECRET), run_id)

    ((path, headers, body),) = receiver.requests
    signed = headers["Drawbar-Timestamp"].encode() + b"." + body
    digest = hmac.new(SECRET.encode(), signed, hashlib.sha256).hexdigest()
    assert headers["Drawbar-Signature"] == f"v1={digest}"
    assert int(headers["Drawbar-Timestamp"]) == int(hands.runtime.now().timestamp())
    assert receiver.body["delivery"] == headers["Drawbar-Delivery"]
    assert (path, receiver.body["event"]) == ("/hook", "run.ended")
    assert receiver.body["run"]["status"] == "failed"
    assert [job["id"] for job in receiver.body["failed_jobs"]] == ["one"]
    assert "abc" not in sent.model_dump_json()
    assert sent.to == f"{receiver.url}/…"


async def test_each_try_of_a_webhook_has_the_same_delivery_and_its_own_time(
    hands: Hands, receiver: Receiver
) -> None:
    receiver.status = 503
    run_id = await a_run(hands, webhook=receiver.url)

    async with postman(hands, NotificationSettings(webhook_secret=SECRET)) as man:
        (waits,) = await man.attend(run_id, 10)
        receiver.status = 204
        sent = await until_tried(hands, man, run_id, 2)

    first, second = (headers for _, headers, _ in receiver.requests)
    assert (waits.status, waits.error, sent.status) == ("waiting", "127.0.0.1 answered 503", "sent")
    assert first["Drawbar-Delivery"] == second["Drawbar-Delivery"]
    assert first["Drawbar-Timestamp"] < second["Drawbar-Timestamp"]


async def test_a_redirect_is_not_followed(hands: Hands, receiver: Receiver) -> None:
    receiver.status, receiver.headers = 307, {"Location": f"{receiver.url}/elsewhere"}
    run_id = await a_run(hands, webhook=f"{receiver.url}/here")

    (waits,) = await told(hands, NotificationSettings(webhook_secret=SECRET), run_id)

    assert [path for path, _, _ in receiver.requests] == ["/here"]
    assert "redirects are not followed" in (waits.error or "")


@pytest.mark.parametrize(
    ("status", "becomes"), [(410, "failed"), (404, "waiting"), (500, "waiting")]
)
async def test_only_a_receiver_that_is_gone_for_good_is_given_up_at_once(
    hands: Hands, receiver: Receiver, status: int, becomes: str
) -> None:
    receiver.status = status
    run_id = await a_run(hands, webhook=receiver.url)

    (notification,) = await told(hands, NotificationSettings(), run_id)

    assert notification.status == becomes


async def test_an_answer_without_end_is_not_read_to_its_end(
    hands: Hands, receiver: Receiver
) -> None:
    receiver.answer = b"x" * 50_000_000
    run_id = await a_run(hands, webhook=receiver.url)

    (notification,) = await told(hands, NotificationSettings(), run_id)

    assert notification.status == "sent"


async def test_what_listens_but_speaks_no_http_is_met_with_patience(hands: Hands) -> None:
    async with silent_server() as port:
        run_id = await a_run(hands, webhook=f"http://127.0.0.1:{port}/secret")
        (waits,) = await told(hands, NotificationSettings(patience_s=0.2), run_id)

    assert (waits.status, waits.error) == ("waiting", "127.0.0.1: it did not answer in time")


async def test_only_hosts_that_are_allowed_are_sent_to(
    hands: Hands, receiver: Receiver, box: Mailbox
) -> None:
    own = {"host": "127.0.0.1", "port": box.port}
    run_id = await a_run(hands, webhook=receiver.url, email=("ann@example.com",), mail_server=own)

    found = await told(hands, NotificationSettings(hosts=("*.example.com", "example.org")), run_id)

    assert {notification.status for notification in found} == {"waiting"}
    assert all("not among the hosts" in (notification.error or "") for notification in found)
    assert not receiver.requests
    assert not box.mails


async def test_slack_gets_text_in_which_names_are_no_markup(
    hands: Hands, receiver: Receiver
) -> None:
    run_id = await hands.submit(
        a_job("<!here>"), name="a & <b>", notify={"slack": f"{receiver.url}/services/T/B/X"}
    )
    await hands.do(1)

    (sent,) = await told(hands, NotificationSettings(webhook_secret=SECRET), run_id)

    assert sent.status == "sent"
    assert "a &amp; &lt;b&gt;: run 1 failed" in receiver.body["text"]
    assert "&lt;!here&gt;" in receiver.body["text"]
    assert "Drawbar-Signature" not in receiver.requests[0][1]


async def test_teams_gets_a_card(hands: Hands, receiver: Receiver) -> None:
    run_id = await a_run(hands, teams=receiver.url)

    await told(hands, NotificationSettings(), run_id)

    (attached,) = receiver.body["attachments"]
    assert attached["contentType"] == "application/vnd.microsoft.card.adaptive"
    assert "run 1 failed" in attached["content"]["body"][0]["text"]


@pytest.mark.parametrize(
    "notify",
    [
        {"webhook": "ftp://example.com"},
        {"webhook": "file:///etc/passwd"},
        {"slack": "hooks.slack.com/secret"},
        {"teams": "http://"},
        {"teams": "http://[::1"},
        {"webhook": "http://host:99999/"},
        {"email": ("nobody",)},
        {"email": ("a@b.c\nBcc: d@e.f",)},
        {"email": ("a@b.c, d@e.f",)},
    ],
)
async def test_receivers_that_mean_nothing_are_refused_without_being_quoted(
    hands: Hands, notify: dict[str, Any]
) -> None:
    with pytest.raises(BadPipeline) as refused:
        await hands.submit(a_job("one"), notify=notify)

    assert "secret" not in str(refused.value)


async def test_notifications_are_listed_over_http_as_well(hands: Hands, box: Mailbox) -> None:
    run_id = await a_run(hands, email=("ann@example.com",))
    sent = await told(hands, by_mail(box), run_id)

    async with over_http(hands.service, hands.runtime) as carrier:
        assert (await carrier.jobs.list_notifications(run_id)).notifications == sent
        with pytest.raises(UnknownRun):
            await carrier.jobs.list_notifications(RunId(99))


async def test_tls_from_the_first_byte_works_as_well(
    hands: Hands, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    certificate, tls = throwaway_certificate(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    run_id = await a_run(hands, email=("ann@example.com",))

    async with mail_server(Mailbox(), tls=tls, from_first_byte=True) as box:
        route = MailRoute("localhost", box.port, is_tls=True)
        (sent,) = await told(hands, NotificationSettings(mail=route), run_id)

    assert (sent.status, len(box.mails)) == ("sent", 1)
