"""A worker as the registry knows it at this moment, and as people see it."""

from dataclasses import dataclass

from registry.enrolment import Enrolment
from registry.states import SHOWN, WorkerState
from shared.protocol.registry import Finding, WorkerView
from shared.protocol.states import WorkerStatus


@dataclass(slots=True)
class Present:
    """One worker: what is on disk, and what this process saw of it since it started."""

    enrolment: Enrolment
    state: WorkerState
    seen_at: float  # monotonic
    attempts: tuple[str, ...] = ()
    free_slots: int = 0
    health: tuple[Finding, ...] = ()


def view_of(worker: Present, *, now: float, late_after_s: float) -> WorkerView:
    known = worker.enrolment
    status = SHOWN[worker.state]
    silent_s = now - worker.seen_at
    return WorkerView(
        worker_id=known.worker_id,
        name=known.name,
        incarnation=known.incarnation,
        status=status,
        desired=known.desired,
        reason=known.desired_reason,
        by=known.desired_by,
        since=known.desired_at,
        until=known.resumes_at,
        labels=known.labels,
        slots=known.slots,
        is_set=known.set_slots is not None or bool(known.set_labels),
        free_slots=worker.free_slots,
        attempts=worker.attempts,
        host=known.host,
        pid=known.pid,
        version=known.version,
        enrolled_at=known.enrolled_at,
        silent_s=silent_s,
        is_late=silent_s > late_after_s and status is not WorkerStatus.OFFLINE,
        health=worker.health,
    )
