"""Who holds a lease until when, on this service's monotonic clock.

In memory: a heartbeat costs no write. At start every lease that the store knows is granted anew,
so neither a restart nor a stepped clock can take a job from a worker that still runs it. The book
learns of claims, starts and ends from the store's committed changes, so it cannot disagree with it.
"""

from dataclasses import dataclass
from typing import Final

from jobstore.store.expire import Expired
from jobstore.store.interface import LiveAttempt
from shared.deadlines import Deadlines
from shared.ids import AttemptId
from shared.protocol.gateway import LeaseBeat, Verdict

LATE: Final = "late"  # instead of a phase: nobody knows what the job is at
MISSED: Final = 2.5  # beats: two are missing, and a third has had time to come


@dataclass(slots=True)
class Lease:
    """The right to run one attempt."""

    job_seq: int
    run_id: int
    worker_id: str
    fence: int
    is_running: bool = False
    is_cancelled: bool = False
    is_late: bool = False  # its last heartbeat was followed by none when two were due
    phase: str | None = None  # what the job is at, by the last heartbeat


class LeaseBook:
    """Every live attempt and when its lease ends."""

    def __init__(self, *, start_ttl_s: float, lease_s: float, heartbeat_s: float) -> None:
        self._start_ttl_s = start_ttl_s
        self._lease_s = lease_s
        self._leases: dict[str, Lease] = {}
        self._late_after_s = MISSED * heartbeat_s
        self._deadlines: Deadlines[str] = Deadlines()
        self._beats_due: Deadlines[str] = Deadlines()  # of what runs: when it is late
        self._heard_again: list[str] = []

    def get(self, attempt_id: AttemptId) -> Lease | None:
        return self._leases.get(attempt_id)

    def restore(self, attempt: LiveAttempt, now: float) -> None:
        """A lease that was held when the service stopped is granted anew, in full."""
        lease = Lease(
            attempt.job_seq,
            attempt.run_id,
            attempt.worker_id,
            attempt.fence,
            attempt.is_running,
            attempt.is_cancelled,
        )
        self.grant(attempt.attempt_id, lease, now)

    def grant(self, attempt_id: str, lease: Lease, now: float) -> None:
        """The attempt is live: it must start within start_ttl_s, or beat within lease_s."""
        self._leases[attempt_id] = lease
        ttl = self._lease_s if lease.is_running else self._start_ttl_s
        self._deadlines.arm(attempt_id, now + ttl)
        if lease.is_running:
            self._beats_due.arm(attempt_id, now + self._late_after_s)

    def start(self, attempt_id: str, lease: Lease, now: float) -> None:
        """The attempt runs; its lease lasts lease_s from now, even if it was about to lapse."""
        self._leases.setdefault(attempt_id, lease).is_running = True
        self._deadlines.arm(attempt_id, now + self._lease_s)
        self._beats_due.arm(attempt_id, now + self._late_after_s)

    def cancel(self, attempt_id: str) -> None:
        """Its worker is told to stop it, at the next beat."""
        lease = self._leases.get(attempt_id)
        if lease is not None:
            lease.is_cancelled = True

    def end(self, attempt_id: str) -> None:
        """Nobody holds this lease any more."""
        self._leases.pop(attempt_id, None)
        self._deadlines.disarm(attempt_id)
        self._beats_due.disarm(attempt_id)

    def beat(self, worker_id: str, beat: LeaseBeat, now: float) -> Verdict:
        """A running lease that is this worker's now lasts lease_s from `now`."""
        lease = self._leases.get(beat.attempt_id)
        if (
            lease is None
            or not lease.is_running
            or lease.worker_id != worker_id
            or lease.fence != beat.fence
        ):
            return Verdict.GONE
        self._deadlines.arm(beat.attempt_id, now + self._lease_s)
        self._beats_due.arm(beat.attempt_id, now + self._late_after_s)
        if lease.is_late:
            lease.is_late = False
            self._heard_again.append(beat.attempt_id)
        lease.phase = beat.phase
        return Verdict.CANCEL if lease.is_cancelled else Verdict.RENEWED

    def phases_of(self, run_id: int) -> dict[int, str]:
        """What the running jobs of the run are at, by their place in the queue."""
        return {
            lease.job_seq: LATE if lease.is_late else lease.phase or ""
            for lease in self._leases.values()
            if lease.run_id == run_id
            and lease.is_running
            and (lease.is_late or lease.phase is not None)
        }

    def take_late(self, now: float) -> tuple[list[str], list[str]]:
        """Attempts that have become late since the last look, and those that were heard again."""
        late = self._beats_due.take_due(now)
        for attempt_id in late:
            self._leases[attempt_id].is_late = True
        heard, self._heard_again = self._heard_again, []
        return late, [attempt_id for attempt_id in heard if attempt_id in self._leases]

    def take_expired(self, now: float) -> list[Expired]:
        """Attempts whose lease has ended. From here on a beat for them comes too late."""
        due = self._deadlines.take_due(now)
        for attempt_id in due:
            self._beats_due.disarm(attempt_id)
        return [Expired(attempt_id, self._leases.pop(attempt_id).is_running) for attempt_id in due]

    def forgive(self, now: float) -> None:
        """This service slept: silence was its own, so every lease lasts lease_s from now."""
        self._deadlines.postpone_all(now + self._lease_s)
        self._beats_due.postpone_all(now + self._late_after_s)
