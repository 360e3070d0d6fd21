"""Everything of the worker that an attempt works with."""

from dataclasses import dataclass

from shared.retry_budget import RetryBudget
from shared.runtime import Runtime
from shared.services import Gateway
from worker.alarms import Alarms
from worker.bell import Bell
from worker.lease import Leases
from worker.logstream import LogStreams
from worker.outbox.interface import Outbox
from worker.outbox.parking import Parking
from worker.polling import Slots
from worker.ports import Runner, Workspace
from worker.presence import Presence
from worker.settings import WorkerSettings


@dataclass(frozen=True, slots=True)
class Crew:
    """One worker's parts."""

    settings: WorkerSettings
    gateway: Gateway
    runtime: Runtime
    runner: Runner
    workspace: Workspace
    presence: Presence
    slots: Slots
    leases: Leases
    alarms: Alarms
    streams: LogStreams
    outbox: Outbox
    parking: Parking
    moves: Bell  # an attempt has come further
    budget: RetryBudget  # of what is asked of the gateway again
