"""What cannot be told now waits, holds up nobody else, and is not lost."""

import asyncio

import pytest

from jobstore.notifications.carriers import Carriers
from jobstore.notifications.outbox import Notification, Outbox
from jobstore.notifications.postman import GIVE_UP_S, Postman
from jobstore.notifications.settings import MailRoute, NotificationSettings
from jobstore.notifications.states import NotificationEvent
from shared.errors import StoreFailed
from shared.sqlite import Database
from tests.support.jobstore import Hands
from tests.support.mail import Mailbox, mail_server, silent_server
from tests.support.notifying import Receiver, a_run, by_mail, postman, told, until_tried

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
