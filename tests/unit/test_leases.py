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

    is_lost = False

    def __init__(self, name: str, worker: str) -> None:
        self.attempt_id, self.worker_id = AttemptId(name), WorkerId(worker)

    def cancel(self) -> None: ...

    def lose(self, reason: str) -> None:
        self.is_lost = True

    def fence_off(self, grace_s: float) -> None: ...


class Gateway:
    """Knows one worker only."""

    knows = WorkerId("new")
    check = "expired"

    async def heartbeat(self, ask: HeartbeatRequest) -> HeartbeatReply:
        if ask.worker_id != self.knows:
            raise Forbidden("no", check=self.check)
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


async def test_a_lease_that_no_token_opens_any_more_is_lost_at_once() -> None:
    """Of an id that an earlier worker had, and that the registry has forgotten."""
    runtime, outbox = ManualRuntime(), Outbox()
    gateway = Gateway()
    gateway.check = "worker"
    leases = Leases(
        gateway,  # type: ignore[arg-type]  # as above
        runtime,
        Alarms(runtime),
        ScriptedRunner(),
        outbox,
        grace_s=10,
    )
    holders = [Holder("of-old", "old"), Holder("of-new", "new")]
    for holder in holders:
        leases.hold(holder, cast(RunContext, Lease()), runtime.mono())

    await leases.beat_once(2.0)

    assert [holder.is_lost for holder in holders] == [True, False]
    assert outbox.beats == [runtime.mono()]
