"""The ends of runs are told to web servers: signed webhooks, Slack and Teams."""

import hashlib
import hmac

import pytest

from jobstore.notifications.settings import NotificationSettings
from tests.support.jobstore import Hands, a_job
from tests.support.mail import Mailbox, silent_server
from tests.support.notifying import SECRET, Receiver, a_run, postman, told, until_tried

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
