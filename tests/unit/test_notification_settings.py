"""What an operator writes about mail servers, secrets and hosts."""

from pathlib import Path

import pytest

from jobstore.notifications.outbox import shown
from jobstore.notifications.settings import (
    MailRoute,
    NotificationSettings,
    notification_settings,
    parse_smtp,
)
from jobstore.notifications.states import NotificationKind
from shared.errors import Misconfigured
from tests.support.runtime import ManualRuntime


def settings(folder: Path, smtp: str | None = None, **env: str) -> NotificationSettings:
    return notification_settings(smtp, None, (), folder / "keys", ManualRuntime(), env)


@pytest.mark.parametrize(
    ("url", "route"),
    [
        ("smtp://mail.example.com", MailRoute("mail.example.com", 25)),
        ("smtps://mail.example.com", MailRoute("mail.example.com", 465, is_tls=True)),
        ("smtp://[::1]:2525/", MailRoute("::1", 2525)),
        ("smtp://a%40b:p%3Aw@mail:587", MailRoute("mail", 587, "a@b", "p:w")),
    ],
)
def test_a_mail_server_is_named_by_a_url(url: str, route: MailRoute) -> None:
    assert parse_smtp(url) == route


@pytest.mark.parametrize(
    "url",
    [
        "mail.example.com",
        "http://x",
        "smtp://",
        "smtp://x:99999",
        "smtp://x:0",
        "smtp://x/y",
        "smtp://[::1",
    ],
)
def test_another_kind_of_url_is_refused_without_being_quoted(url: str) -> None:
    with pytest.raises(Misconfigured) as refused:
        parse_smtp(url.replace("://", "://user:hunter2@"))

    assert "hunter2" not in str(refused.value)


def test_a_password_comes_from_the_environment_or_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text("from a file\n")
    url = "smtp://user:from-the-url@mail"

    plain = settings(tmp_path, url).mail
    by_variable = settings(tmp_path, url, DRAWBAR_SMTP_PASSWORD="from the environment").mail
    by_file = settings(tmp_path, url, DRAWBAR_SMTP_PASSWORD_FILE=str(file)).mail

    assert [route and route.password for route in (plain, by_variable, by_file)] == [
        "from-the-url",
        "from the environment",
        "from a file",
    ]
    with pytest.raises(Misconfigured, match="cannot read"):
        settings(tmp_path, url, DRAWBAR_SMTP_PASSWORD_FILE=str(tmp_path / "none"))


def test_a_password_is_in_no_repr(tmp_path: Path) -> None:
    made = settings(tmp_path, "smtp://user:hunter2@mail")

    assert made.mail is not None
    assert made.mail.password == "hunter2"
    assert "hunter2" not in repr(made)
    assert made.webhook_secret is not None
    assert made.webhook_secret not in repr(made)


def test_a_webhook_secret_is_made_once_and_readable_by_its_owner_only(tmp_path: Path) -> None:
    first, again = settings(tmp_path), settings(tmp_path)

    assert first.webhook_secret == again.webhook_secret
    assert (tmp_path / "keys" / "webhook.secret").stat().st_mode & 0o777 == 0o600


def test_a_webhook_secret_that_was_given_must_be_long_enough(tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_text("short")

    with pytest.raises(Misconfigured, match="fewer than 16"):
        settings(tmp_path, DRAWBAR_WEBHOOK_SECRET_FILE=str(file))


@pytest.mark.parametrize(
    ("host", "is_allowed"),
    [
        ("hooks.slack.com", True),
        ("HOOKS.slack.com.", True),
        ("slack.com", False),
        ("evil-hooks.slack.com", False),
        ("a.example.com", True),
        ("a.b.example.com", True),
        ("example.com", False),
        ("evilexample.com", False),
        ("127.0.0.1", False),
    ],
)
def test_where_hosts_are_listed_no_other_is_sent_to(host: str, is_allowed: bool) -> None:
    assert (
        NotificationSettings(hosts=("hooks.slack.com", "*.example.com")).allows(host) is is_allowed
    )
    assert NotificationSettings().allows(host)


@pytest.mark.parametrize(
    ("url", "seen"),
    [
        ("https://hooks.slack.com/services/T0/B0/secret", "https://hooks.slack.com/…"),
        ("https://user:pass@host:8443/x?token=secret", "https://host:8443/…"),
        ("http://[::1]:80/secret", "http://[::1]:80/…"),
    ],
)
def test_of_a_url_only_its_host_is_shown(url: str, seen: str) -> None:
    assert shown(NotificationKind.SLACK, url) == seen
