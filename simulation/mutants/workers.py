"""Bugs in workers: what they start, when they stop it, and what they tell of it."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from unittest import mock

import worker.execution
import worker.lease
import worker.report
from shared.errors import ServiceError
from shared.protocol.gateway import Outcome, Result
from shared.protocol.states import WorkerStatus
from worker.attempt import Attempt
from worker.checking import POST
from worker.execution import Execution
from worker.outbox.disk import DiskOutbox
from worker.outbox.record import Record
from worker.ports import Exit
from worker.presence import Presence
from worker.processes import Processes


@contextmanager
def start_without_the_registry() -> Iterator[None]:
    """A job is started before the registry knows that its worker is Working."""

    async def announce(self: Presence) -> None:
        self.changed()

    with mock.patch.object(Presence, "announce", announce):
        yield


@contextmanager
def working_acknowledged_by_an_older_report() -> Iterator[None]:
    """A report that was on its way before the claim counts as if it spoke for it."""
    heard = Presence._heard

    def hear(self: Presence, waiting: list[Any], status: Any, reply: Any) -> None:
        since, self._waiting = self._waiting, []
        heard(self, [*waiting, *since], WorkerStatus.WORKING, reply)

    with mock.patch.object(Presence, "_heard", hear):
        yield


@contextmanager
def self_fence_too_late() -> Iterator[None]:
    """A worker that was cut off stops its jobs long after its leases are over."""

    def late(lease_s: float, grace_s: float = 0.0) -> float:
        return 4 * lease_s

    with (
        mock.patch.object(worker.lease, "fence_after_s", late),
        mock.patch.object(worker.lease, "end_after_s", late),
    ):
        yield


@contextmanager
def job_that_ignores_sigterm_lives_on() -> Iterator[None]:
    """A job is asked to stop, and nobody looks whether it did."""

    def arm(self: Processes, grace_s: float) -> None:
        """No SIGKILL ever comes."""

    with mock.patch.object(Processes, "_arm_kill", arm):
        yield


@contextmanager
def lost_lease_stops_nothing() -> Iterator[None]:
    """A worker hears that somebody else may have its job, and lets it run.

    Its launcher, which ends what has no lease, is told of leases that last for long.
    """

    def note_only(self: Attempt, reason: str) -> None:
        self._is_gone = True

    with (
        mock.patch.object(Attempt, "lose", note_only),
        mock.patch.object(worker.lease, "end_after_s", lambda lease_s: 4 * lease_s),
    ):
        yield


@contextmanager
def success_before_post_checks() -> Iterator[None]:
    """A job is a success when its command was: nobody waits for its post-checks."""
    check = Execution._check

    async def skip(self: Execution, phase: str, *rest: Any) -> str | None:
        return None if phase == POST else await check(self, phase, *rest)

    with mock.patch.object(Execution, "_check", skip):
        yield


@contextmanager
def failed_check_counts_as_passed() -> Iterator[None]:
    """Checks are made, and what they say is not heard."""

    async def no_flaw(ended: Exit, files: Any) -> None:
        return None

    with mock.patch.object(worker.execution, "flaw_of", no_flaw):
        yield


@contextmanager
def successor_starts_the_job_again() -> Iterator[None]:
    """A worker that was restarted starts what its predecessor had started before."""

    async def again(self: Execution, context: Any, record: Record) -> Result:
        return await self.run(context)

    with mock.patch.object(Execution, "go_on", again):
        yield


@contextmanager
def unnoted_start_counts_as_none() -> Iterator[None]:
    """A job whose worker was killed before it noted the process goes back as one not begun."""
    noted = property(lambda record: record.pid is None)
    with mock.patch.object(Record, "has_not_begun", noted):
        yield


@contextmanager
def killed_counts_as_success() -> Iterator[None]:
    """A process that ended by a signal is reported to have exited with 0."""

    def result_of(ended: Exit) -> Result:
        return Result(outcome=Outcome.EXITED, exit_code=ended.exit_code or 0)

    with mock.patch.object(worker.execution, "result_of", result_of):
        yield


@contextmanager
def failure_reported_as_success() -> Iterator[None]:
    """An exit code that is not 0 is lost on its way."""

    def result_of(ended: Exit) -> Result:
        code = None if ended.exit_code is None else 0
        outcome = Outcome.SIGNALED if code is None else Outcome.EXITED
        return Result(outcome=outcome, exit_code=code, signal=ended.signal)

    with mock.patch.object(worker.execution, "result_of", result_of):
        yield


@contextmanager
def result_given_up() -> Iterator[None]:
    """A result whose report fails is forgotten, instead of being reported later."""
    with mock.patch.object(worker.report, "FINAL", (ServiceError, TimeoutError)):
        yield


@contextmanager
def outbox_forgotten() -> Iterator[None]:
    """A worker that was restarted does not look at what the one before it left."""

    def nothing(self: DiskOutbox) -> Sequence[Record]:
        return ()

    with mock.patch.object(DiskOutbox, "left", nothing):
        yield


@contextmanager
def log_left_behind() -> Iterator[None]:
    """A result is reported without the log that goes with it."""
    deliver = worker.report.Report.deliver

    async def without(
        self: worker.report.Report, result: Any, usage: Any, artifacts: Any, files: Any, _: Any
    ) -> Any:
        return await deliver(self, result, usage, artifacts, files, None)

    with mock.patch.object(worker.report.Report, "deliver", without):
        yield


@contextmanager
def slot_free_before_the_job_ended() -> Iterator[None]:
    """A slot counts as free as soon as its job runs: the worker takes too many."""
    run = Execution.run

    async def vacate(self: Execution, context: Any) -> Result:
        assert isinstance(self._holder, Attempt)
        self._holder._vacate()
        return await run(self, context)

    with mock.patch.object(Execution, "run", vacate):
        yield


@contextmanager
def timeout_ignored() -> Iterator[None]:
    """A job may take as long as it likes."""

    def never(self: Processes, timeout_s: float) -> None:
        """No alarm is set."""

    with mock.patch.object(Processes, "_time", never):
        yield


MUTANTS = (
    start_without_the_registry,
    working_acknowledged_by_an_older_report,
    self_fence_too_late,
    job_that_ignores_sigterm_lives_on,
    lost_lease_stops_nothing,
    success_before_post_checks,
    failed_check_counts_as_passed,
    successor_starts_the_job_again,
    unnoted_start_counts_as_none,
    killed_counts_as_success,
    failure_reported_as_success,
    result_given_up,
    outbox_forgotten,
    log_left_behind,
    slot_free_before_the_job_ended,
    timeout_ignored,
)
