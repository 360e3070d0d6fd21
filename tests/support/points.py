"""A worker whose calls meet faults at points, and a gateway that counts what arrives."""

from collections.abc import AsyncIterator
from typing import Any

from faults.hops import Side, around
from faults.injector import Injector
from faults.plan import PointPlan
from shared.ids import AttemptId, ClaimId, JobId, RunId, WorkerId
from shared.protocol import gateway as g
from tests.support.runtime import ManualRuntime

CLAIM = g.ClaimRequest(
    claim_id=ClaimId("c"), worker_id=WorkerId("w-2"), labels={}, free_slots=1, wait_s=0
)


class Counting:
    """A gateway that notes what reached it."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.bodies: list[bytes] = []

    async def claim(self, ask: g.ClaimRequest) -> g.ClaimReply:
        self.calls.append("claim")
        claim = g.Claim(
            attempt_id=AttemptId("a-1"),
            run_id=RunId(7),
            job_id=JobId("build"),
            fence=1,
            start_ttl_s=15,
        )
        return g.ClaimReply(claims=(claim,))

    async def refuse(self, ask: g.RefuseRequest) -> None:
        self.calls.append(f"refuse {ask.reason}")

    async def append_log(self, chunk: Any, body: AsyncIterator[bytes]) -> str:
        self.calls.append("append_log")
        self.bodies.append(b"".join([piece async for piece in body]))
        return "kept"

    async def read_input(self, ask: Any) -> AsyncIterator[bytes]:
        self.calls.append("read_input")
        yield b"0123456789"
        yield b"rest"

    def ready(self) -> str:
        return "as it is"


class Parts:
    """A service with a part that has verbs of its own."""

    def __init__(self) -> None:
        self.values = self
        self.asked: list[str] = []

    async def list_variables(self, ask: str) -> None:
        self.asked.append(ask)


class World:
    def __init__(self, *faults: dict[str, Any], seed: int = 0) -> None:
        self.runtime = ManualRuntime()
        self.told: list[dict[str, Any]] = []
        self.injector = Injector(self.runtime, self.told.append)
        self.inner = Counting()
        self.gateway: Any = around(self.inner, "worker", Side.CALLER, self.injector)
        self.put(*faults, seed=seed)

    def put(self, *faults: dict[str, Any], seed: int = 0) -> None:
        self.injector.put(PointPlan.model_validate({"seed": seed, "faults": faults}))

    async def refuse(self, reason: str = "x", worker: str = "w-1") -> None:
        await self.gateway.refuse(
            g.RefuseRequest(
                attempt_id=AttemptId("a-1"), worker_id=WorkerId(worker), fence=1, reason=reason
            )
        )


def fault(action: str, verb: str = "refuse", moment: str = "before_send", **more: Any) -> Any:
    return {"at": f"worker.{verb}.{moment}", "action": action, **more}


async def chunk() -> AsyncIterator[bytes]:
    yield b"0123456789"
    yield b"abc"
