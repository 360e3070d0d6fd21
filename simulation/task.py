"""What a simulated task does: it reads what its dependencies left, leaves something, and ends.

It speaks the task protocol (docs/task-protocol.md) through its pipes, so that everything between
them and the job service is the real thing. Its words are `sim SECONDS FAILURE_CHANCE LINES WAIT`.
"""

import asyncio
import json
from datetime import timedelta
from typing import Any, Final

from pydantic import JsonValue

from shared.ids import AttemptId
from shared.protocol import execution as e
from shared.protocol.states import JobStatus
from shared.protocol.task import Request, StartFrame, encode_request
from simulation.callers import Callers
from simulation.launcher import SimLauncher, SimProcess
from simulation.pipes import Wires
from simulation.runtime import START
from simulation.script import WAITS, Script, line_of
from worker.ports import Breach, Launch

WAIT_S: Final = (0.0, 8.0)
PATIENCE_S: Final = (4.0, 12.0)  # of a task that waits for somebody
WAITS_AGAIN: Final = 0.15  # when it was woken
RESCHEDULES: Final = 0.5  # of the tries that may
WAITS_UNTIL_S: Final = 60.0  # then all are to come to their ends
IS_SILENT: Final = 0.3  # when it fails: it does not say so
IS_LARGE: Final = 0.05
LARGE_CHARACTERS: Final = 80_000  # as JSON more than a row of the store holds
GO_ON, TOO_LATE = "go_on", "too_late"  # its functions
STEPS: Final = 2  # values that it leaves under one key, one after the other


class HungUp(Exception):
    """Nobody answers any more: the worker is dead."""


class Refused(Exception):
    """The answer is an error."""


class SimTask(SimProcess):
    """The process of a task runner, at the other end of `wires`."""

    def __init__(
        self,
        launcher: SimLauncher,
        pid: int,
        attempt_id: AttemptId,
        launch: Launch,
        until: float,
        *,
        wires: Wires,
        callers: Callers,
    ) -> None:
        super().__init__(launcher, pid, attempt_id, launch, until)
        self._wires = wires
        self._callers = callers
        self._asked = 0

    def end(self, exit_code: int | None, signal: int | None, breach: Breach | None = None) -> None:
        super().end(exit_code, signal, breach)
        self._wires.requests.close()

    async def _live(self) -> None:
        try:
            line = await self._wires.replies.next()
            if line is None:
                raise HungUp
            code = await self._run(StartFrame.model_validate_json(line))
        except HungUp:
            code = 1
        self.end(code, None)

    async def _run(self, start: StartFrame) -> int:
        """Its exit code."""
        script, waits = self._script, start.task.runner[-1]
        try:
            if start.resume is not None:
                self._tell("resumed", **start.resume.model_dump())
                await self._read(None)
            else:
                for one in start.dependencies:
                    if one.status is JobStatus.SUCCESS:
                        await self._read(one.job_id)
            await self._work(script, 0)
            await self._leave()
            await self._work(script, 1)
            return await self._finish(script, waits, start)
        except Refused as refused:
            await self._ask(e.Fail(reason=f"it was refused: {refused}"))
            return 1

    async def _read(self, job: str | None) -> None:
        """Everything that a job has left; None: that it has left itself, also before it waited."""
        for key in (await self._ask(e.ListXComs(job=job)))["keys"]:
            await self._ask(e.GetXCom(job=job, key=key))

    async def _leave(self) -> None:
        """Something of its own, something that changes, and now and then something large."""
        chance, by = self._launcher.chance, self.attempt_id
        for n in range(STEPS):
            await self._ask(e.SetXCom(key="steps", value=n))
        await self._ask(e.SetXCom(key=f"by-{by}", value=1))
        padding = "x" * LARGE_CHARACTERS if chance.random() < IS_LARGE else ""
        await self._ask(e.SetXCom(value={"by": by, "padding": padding}))
        await self._read(None)

    async def _work(self, script: Script, half: int) -> None:
        await asyncio.sleep(script.seconds / 2)
        lines = range(script.lines * half // 2, script.lines * (half + 1) // 2)
        self._write(b"".join(line_of(self.attempt_id, n) for n in lines))

    async def _finish(self, script: Script, waits: str, start: StartFrame) -> int:
        chance = self._launcher.chance
        if script.exit_code != 0:
            if chance.random() >= IS_SILENT:
                await self._ask(e.Fail(reason="it was to fail"))
            return script.exit_code
        is_late = self._host.loop.now > WAITS_UNTIL_S
        if waits not in WAITS or is_late or (start.resume and chance.random() >= WAITS_AGAIN):
            await self._ask(e.Succeed())
        elif waits == "reschedule" and chance.random() < RESCHEDULES:
            await self._ask(e.Reschedule(at=START + timedelta(seconds=self._soon())))
        else:
            await self._ask(await self._wait_for(waits, start))
        return 0

    async def _wait_for(self, waits: str, start: StartFrame) -> Request:
        chance, callback_id = self._launcher.chance, None
        params: dict[str, JsonValue]
        match waits:
            case "delta":
                params = {"seconds": round(chance.uniform(*WAIT_S), 3)}
            case "callback":
                made = await self._ask(e.NewCallback())
                callback_id = made["callback_id"]
                self._callers.hear_of_callback(made["url"])
                params = {"callback_id": callback_id}
            case "question":
                self._callers.hear_of_question(start.run_id, start.job_id)
                params = {"question": "Go on?", "choices": ["yes", "no"]}
            case "job":
                params = {"job_id": "job-0"}
            case _:
                waits = "time"
                params = {"at": (START + timedelta(seconds=self._soon())).isoformat()}
        is_patient = waits in ("delta", "time")
        return e.Defer(
            trigger=e.TriggerSpec(kind=waits, params=params),
            next_method=GO_ON,
            arguments={"by": self.attempt_id, "callback": callback_id},
            timeout_s=None if is_patient else chance.uniform(*PATIENCE_S),
            on_timeout=TOO_LATE if chance.random() < 0.7 else None,
        )

    def _soon(self) -> float:
        """On a clock that nobody stepped: what a wrong one makes of it is no matter here."""
        return self._host.loop.now + self._launcher.chance.uniform(*WAIT_S)

    async def _ask(self, request: Request) -> Any:
        """What the supervisor answers. Refused, HungUp."""
        self._asked += 1
        await self._wires.requests.write(encode_request(self._asked, request))
        line = await self._wires.replies.next()
        if line is None:
            raise HungUp
        reply = json.loads(line)
        if "error" in reply:
            raise Refused(reply["error"]["code"])
        return reply["ok"]

    def _write(self, data: bytes) -> None:
        """What it prints goes to its worker, who keeps its log."""
        if self.exit is None:
            self._wires.log.feed(data)
            self._written += len(data)

    def _tell(self, op: str, **facts: Any) -> None:
        if self.exit is None:
            self._launcher.history.event_of(self._host.label, op, attempt=self.attempt_id, **facts)
