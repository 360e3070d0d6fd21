"""What cases against services work with: hands that enrol, claim and finish with raw requests."""

import base64
import hashlib
from dataclasses import dataclass
from typing import Any, Final

from drawbar.conformance.asking import Answer, Peer
from drawbar.conformance.case import Unproved
from shared.runtime import Runtime

LABEL: Final = "drawbar-conformance"  # jobs and hands of a case find only each other


@dataclass(frozen=True, slots=True)
class Doors:
    """Where the services are, and what opens them."""

    gateway: Peer
    registry: Peer
    jobstore: Peer | None  # where jobs are submitted
    enrolment_secret: str
    client_token: str | None


@dataclass(slots=True)
class Attempt:
    """A claim that a hand has."""

    hand: "Hand"
    id: str
    fence: int
    workload: str | None
    execution: str | None = None

    @property
    def path(self) -> str:
        return f"/v1/attempts/{self.id}"

    async def verb(
        self, verb: str, body: dict[str, Any], token: str | None, *, fence: int | None = None
    ) -> Answer:
        said = {"fence": self.fence if fence is None else fence, **body}
        return await self.hand.gateway.ask("POST", f"{self.path}/{verb}", said, token=token)

    async def run(self, *, fence: int | None = None) -> Answer:
        answer = await self.verb("run", {"host": "here", "pid": 1}, self.workload, fence=fence)
        if answer.status == 200:
            self.execution = answer.json().get("token")
        return answer

    async def refuse(self) -> Answer:
        return await self.verb("refuse", {"reason": "conformance"}, self.workload)

    async def beat(self) -> Answer:
        return await self.verb("heartbeat", {"phase": "executing"}, self.key)

    async def log(self, data: bytes, offset: int, *, fence: int | None = None) -> Answer:
        headers = {
            "Drawbar-Fence": str(self.fence if fence is None else fence),
            "Content-Range": f"bytes {offset}-{offset + len(data) - 1}/*",
        }
        return await self.hand.gateway.ask(
            "PATCH", f"{self.path}/log", data, token=self.key, headers=headers
        )

    async def put(
        self,
        path: str,
        data: bytes,
        *,
        sha256: str = "",
        part: str = "",
        fence: int | None = None,
    ) -> Answer:
        headers = {
            "Drawbar-Fence": str(self.fence if fence is None else fence),
            "Drawbar-Sha256": sha256 or hashlib.sha256(data).hexdigest(),
        }
        if part:
            headers["Content-Range"] = part
        return await self.hand.gateway.ask(
            "PUT", f"{self.path}/artifacts/{path}", data, token=self.key, headers=headers
        )

    async def get(self, path: str) -> Answer:
        return await self.hand.gateway.ask(
            "GET",
            f"{self.path}/{path}",
            token=self.key,
            headers={"Drawbar-Fence": str(self.fence)},
        )

    async def finish(
        self,
        exit_code: int = 0,
        *,
        log: bytes = b"",
        with_log: bool = True,
        artifacts: tuple[tuple[str, bytes], ...] = (),
        fence: int | None = None,
    ) -> Answer:
        body = finish_body(exit_code, log=log, with_log=with_log, artifacts=artifacts)
        return await self.verb("finish", body, self.key, fence=fence)

    @property
    def key(self) -> str:
        """What opens the verbs of a running attempt."""
        return self.execution or self.hand.token


def finish_body(
    exit_code: int,
    *,
    log: bytes = b"",
    with_log: bool = True,
    artifacts: tuple[tuple[str, bytes], ...] = (),
) -> dict[str, Any]:
    """All of a report but its fence."""
    return {
        "result": {"outcome": "exited", "exit_code": exit_code},
        "log": {
            "size_bytes": len(log),
            "sha256": hashlib.sha256(log).hexdigest(),
            "tail_offset": 0 if with_log else len(log),
            "tail": base64.b64encode(log).decode() if with_log else "",
            "lost_bytes": 0,
        },
        "artifacts": [
            {"path": path, "size_bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
            for path, data in artifacts
        ],
        "usage": {"wall_s": 1.0, "cpu_s": None, "max_rss_bytes": None},
    }


@dataclass(slots=True)
class Hand:
    """An enrolled worker."""

    gateway: Peer
    registry: Peer
    name: str
    worker_id: str
    incarnation: int
    token: str
    label: str
    runtime: Runtime

    async def report(self, status: str = "readyForWork", **facts: Any) -> Answer:
        body = {"incarnation": self.incarnation, "status": status, "attempts": [], "free_slots": 1}
        return await self.registry.ask(
            "PUT", f"/v1/workers/{self.worker_id}/status", {**body, **facts}, token=self.token
        )

    def claim_body(self, claim_id: str = "", slots: int = 1, wait_s: float = 0) -> dict[str, Any]:
        return {
            "claim_id": claim_id or self.runtime.new_id(),
            "labels": {LABEL: self.label},
            "free_slots": slots,
            "wait_s": wait_s,
        }

    async def claim(self, claim_id: str = "", slots: int = 1, wait_s: float = 0) -> Answer:
        body = self.claim_body(claim_id, slots, wait_s)
        return await self.gateway.ask("POST", "/v1/claims", body, token=self.token)

    async def take(self) -> Attempt:
        """The next job, claimed."""
        return self.attempt(await self.claim(wait_s=5))

    def attempt(self, answer: Answer) -> Attempt:
        first = answer.is_(200).json()["claims"][0]
        return Attempt(self, first["attempt_id"], first["fence"], first.get("token"))

    async def start(self) -> Attempt:
        """The next job, running."""
        attempt = await self.take()
        (await attempt.run()).is_(200)
        return attempt

    async def beats(self, *attempts: tuple[str, int]) -> list[dict[str, Any]]:
        """The verdicts of one heartbeat for all of them."""
        leases = [{"attempt_id": a, "fence": f, "phase": "executing"} for a, f in attempts]
        answer = await self.gateway.ask(
            "POST", "/v1/heartbeats", {"leases": leases}, token=self.token
        )
        verdicts: list[dict[str, Any]] = answer.is_(200).json()["leases"]
        return verdicts


class Stand:
    """One case's own corner of an installation: its jobs and workers meet no others."""

    def __init__(self, doors: Doors, runtime: Runtime) -> None:
        self.doors = doors
        self.runtime = runtime
        self.label = runtime.new_id()
        self._hands: list[Hand] = []
        self._runs: list[int] = []

    async def enrol(self, name: str, **facts: Any) -> Answer:
        body = {
            "name": name,
            "host": "here",
            "pid": 1,
            "version": "conformance",
            "labels": {LABEL: self.label},
            "slots": 4,
        }
        return await self.doors.registry.ask(
            "POST", "/v1/workers", {**body, **facts}, token=self.doors.enrolment_secret
        )

    def new_name(self) -> str:
        return f"conformance-{self.runtime.new_id()}"

    async def hand(self, name: str = "") -> Hand:
        name = name or self.new_name()
        told = (await self.enrol(name)).is_(201).json()
        hand = Hand(
            self.doors.gateway,
            self.doors.registry,
            name,
            told["worker_id"],
            told["incarnation"],
            told["token"],
            self.label,
            self.runtime,
        )
        self._hands.append(hand)
        return hand

    async def submit(self, *jobs: dict[str, Any]) -> int:
        """The run's number. Without more said, one job that only a hand of this stand may run."""
        own = {"requires": {LABEL: self.label}, "command": "true"}
        spec = {"name": "conformance", "jobs": [{**own, **job} for job in jobs or ({"id": "a"},)]}
        answer = await self.person(
            "POST", "/v1/runs", {"pipeline": spec}, headers={"Idempotency-Key": self.label}
        )
        run_id: int = answer.is_(201).json()["run_id"]
        self._runs.append(run_id)
        return run_id

    async def person(self, method: str, path: str, body: object = None, **more: Any) -> Answer:
        """Asked of the job service by somebody. Unproved: nobody said where it is."""
        if self.doors.jobstore is None:
            raise Unproved("needs jobs: say where they are submitted, with --jobstore URL")
        token = self.client_token()
        return await self.doors.jobstore.ask(method, path, body, token=token, **more)

    async def operator(self, verb: str, name: str, body: object) -> Answer:
        """An operator's wish, said to the registry."""
        token = self.client_token()
        return await self.doors.registry.ask(
            "POST", f"/v1/workers/{name}/{verb}", body, token=token
        )

    def client_token(self) -> str:
        if self.doors.client_token is None:
            raise Unproved("needs a client token: set DRAWBAR_TOKEN, or name --data")
        return self.doors.client_token

    async def clear(self) -> None:
        """Nothing of the case goes on: runs are cancelled, workers have left."""
        for run_id in self._runs:
            await self.person("POST", f"/v1/runs/{run_id}/cancel", {"reason": "conformance"})
        for hand in self._hands:
            await self.doors.registry.ask(
                "POST",
                f"/v1/workers/{hand.worker_id}/leave",
                {"incarnation": hand.incarnation},
                token=hand.token,
            )
