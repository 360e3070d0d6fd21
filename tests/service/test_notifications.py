"""The ends of runs are told: which, and by mail."""

from pathlib import Path
from typing import Any

import pytest

from jobstore.notifications.settings import MailRoute, NotificationSettings
from shared.errors import BadPipeline, UnknownRun
from shared.ids import RunId
from shared.protocol import jobs as j
from tests.support.carriers import over_http
from tests.support.jobstore import Hands, a_job, hands_on
from tests.support.mail import Mailbox, mail_server, throwaway_certificate
from tests.support.notifying import ENDS, a_run, by_mail, postman, told, until_tried
from tests.support.runtime import ManualRuntime

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
