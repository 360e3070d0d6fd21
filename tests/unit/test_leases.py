"""What is noted of leases that were renewed, as a successor counts from there."""

from typing import cast

import pytest

from shared.errors import Forbidden
from shared.ids import AttemptId, WorkerId
from shared.protocol.gateway import (
    HeartbeatReply,
    HeartbeatRequest,
    LeaseVerdict,
    RunContext,
    Verdict,
)
from tests.support.processes import ScriptedRunner
from tests.support.runtime import ManualRuntime
from worker.alarms import Alarms
from worker.lease import Leases
from worker.outbox.memory import MemoryOutbox


class Holder:
    phase = "executing"
    fence = 1

    def __init__(self, name: str, worker: str) -> None:
        self.attempt_id, self.worker_id = AttemptId(name), WorkerId(worker)

    def cancel(self) -> None: ...

    def lose(self, reason: str) -> None: ...

    def fence_off(self, grace_s: float) -> None: ...


class Gateway:
    """Knows one worker only."""

    knows = WorkerId("new")

    async def heartbeat(self, ask: HeartbeatRequest) -> HeartbeatReply:
        if ask.worker_id != self.knows:
            raise Forbidden("the token is another worker's")
        return HeartbeatReply(
            leases=tuple(
                LeaseVerdict(attempt_id=lease.attempt_id, verdict=Verdict.RENEWED, reason=None)
                for lease in ask.leases
            )
        )


class Outbox(MemoryOutbox):
    def __init__(self) -> None:
        self.beats: list[float] = []

    def beat(self, at: float) -> None:
        self.beats.append(at)


class Lease:
    lease_s, heartbeat_s = 30.0, 2.0


@pytest.mark.parametrize("ids", [("old", "new"), ("new", "old")])
async def test_a_beat_that_was_not_taken_for_every_lease_is_not_noted(ids: tuple[str, str]) -> None:
    """The next worker would take them all for renewed, and let jobs run beyond their lease."""
    runtime, outbox = ManualRuntime(), Outbox()
    gateway = Gateway()
    leases = Leases(
        gateway,  # type: ignore[arg-type]  # of its verbs, one is asked for
        runtime,
        Alarms(runtime),
        ScriptedRunner(),
        outbox,
        grace_s=10,
    )
    for name in ids:
        leases.hold(Holder(f"of-{name}", name), cast(RunContext, Lease()), runtime.mono())

    await leases.beat_once(2.0)
    assert outbox.beats == []

    leases.drop(AttemptId("of-old"))
    await leases.beat_once(2.0)
    assert outbox.beats == [runtime.mono()]
