"""`drawbar schedules`, and what `drawbar run` tells when its run has ended."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.daemons import Daemon, Finished, Port, run_command, until
from tests.support.mail import Mailbox, mail_server

pytestmark = [pytest.mark.system, pytest.mark.slow]

EVERY_MINUTE = """
name: ticking
schedule: {cron: "* * * * *", timezone: Europe/Berlin, catch_up: latest}
jobs: [{id: one, command: 'echo "for $DRAWBAR_SCHEDULED_AT"'}]
"""
TOLD = """
name: told
notify: {email: "ann@example.com, ben@example.com", on: [failure]}
jobs: [{id: one, command: exit 3}]
"""


class Shell:
    """A folder, a data directory, and the command."""

    def __init__(self, folder: Path, **env: str) -> None:
        self.folder = folder
        self.env = {
            "PATH": "/usr/bin:/bin",
            "HOME": str(folder),
            "TZ": "UTC",
            "DRAWBAR_DATA": str(folder / "data"),
            **env,
        }
        (folder / "ticking.yaml").write_text(EVERY_MINUTE)
        (folder / "told.yaml").write_text(TOLD)
        (folder / "plain.yaml").write_text("jobs: [{id: one, command: 'true'}]\nname: plain\n")

    async def __call__(self, *words: str, code: int = 0) -> Finished:
        done = await run_command(words, self.env, self.folder)
        assert done.code == code, done.err + done.out.decode()
        return done


@pytest.fixture
async def shell(tmp_path: Path) -> AsyncIterator[Shell]:
    """With an `up` behind it."""
    port = Port(3)
    shell = Shell(tmp_path, DRAWBAR_JOBSTORE_URL=f"http://127.0.0.1:{port.number + 2}")
    up = Daemon(
        ["up", "--port-base", str(port.number), "--slots", "2"],
        shell.env,
        tmp_path / "up.log",
        f"http://127.0.0.1:{port.number + 2}",
    )
    try:
        await up.start()
        yield shell
    finally:
        await up.end()
        port.close()


async def test_a_schedule_is_added_listed_paused_and_removed(shell: Shell) -> None:
    assert b"no schedules yet" in (await shell("schedules")).out

    added = await shell("schedules", "add", "ticking.yaml")
    assert b"schedule ticking, Every minute: next " in added.out
    listed = (await shell("schedules")).out.decode()
    assert "Every minute (Europe/Berlin)" in listed
    assert b"is paused" in (await shell("schedules", "pause", "ticking")).out
    assert b"paused" in (await shell("schedules")).out
    assert b"next " in (await shell("schedules", "resume", "ticking")).out
    assert b"is removed" in (await shell("schedules", "remove", "ticking")).out
    assert "no schedule 'ticking'" in (await shell("schedules", "remove", "ticking", code=1)).err


async def test_a_backfill_runs_every_time_of_its_span(shell: Shell) -> None:
    await shell("schedules", "add", "ticking.yaml")
    await shell("schedules", "pause", "ticking")
    span = ("--since", "2026-11-01T03:00", "--until", "2026-11-01T03:03")

    assert (
        b"3 runs, one after another" in (await shell("schedules", "backfill", "ticking", *span)).out
    )

    async def is_done() -> bool:
        return b"done" in (await shell("schedules", "backfills")).out

    await until(is_done, "the backfill is done")
    logs = [(await shell("logs", str(run), "one")).out.decode().strip() for run in (1, 2, 3)]
    assert logs == [f"for 2026-11-01T03:0{minute}:00+01:00" for minute in (0, 1, 2)]


async def test_what_cannot_be_a_schedule_is_said(shell: Shell) -> None:
    assert "has no schedule" in (await shell("schedules", "add", "plain.yaml", code=2)).err
    (shell.folder / "bad.yaml").write_text(EVERY_MINUTE.replace("* * * * *", "61 * * * *"))
    bad = await shell("schedules", "add", "bad.yaml", code=2)
    assert "bad.yaml:3" in bad.err
    assert "minute field" in bad.err
    misplaced = await shell("schedules", "--json", "add", "ticking.yaml", code=2)
    assert "write --json behind the subcommand" in misplaced.err
    span = ("--since", "yesterday", "--until", "2026-11-02")
    assert "--since takes" in (await shell("schedules", "backfill", "x", *span, code=2)).err


async def test_the_next_times_are_shown_without_a_service(tmp_path: Path) -> None:
    shell = Shell(tmp_path)

    shown = (await shell("schedules", "next", "ticking.yaml", "-n", "3")).out.decode()

    assert len(shown.splitlines()) == 4
    assert "Every minute, Europe/Berlin" in shown


async def test_a_run_here_tells_of_its_end_before_it_leaves(tmp_path: Path) -> None:
    async with mail_server(Mailbox()) as box:
        shell = Shell(tmp_path, DRAWBAR_SMTP_URL=f"smtp://127.0.0.1:{box.port}")
        done = await shell("run", "told.yaml", code=1)

    assert b"told 2 receivers of this run" in done.out
    assert sorted(mail["To"] for mail in box.mails) == ["ann@example.com", "ben@example.com"]
    assert "ann@example.com" in (await shell("show", "1")).out.decode()


async def test_what_could_not_be_told_is_told_by_the_next_run(tmp_path: Path) -> None:
    shell = Shell(tmp_path)

    first = await shell("run", "told.yaml", code=1)
    assert b"email to ann@example.com waits for the next start" in first.out

    async with mail_server(Mailbox()) as box:
        again = await shell("run", "plain.yaml", "--smtp", f"smtp://127.0.0.1:{box.port}")

    assert b"told 2 receivers of earlier runs" in again.out
    assert all("run 1 failed" in mail["Subject"] for mail in box.mails)
