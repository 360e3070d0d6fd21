"""A witness before a worker's two servers: hands bytes on as they are, and writes down the calls.

Calls travel as frames of a line (shared/protocol/line.py). Of what is a request of its own, logs
and artifacts for example, only that it was turned down is of interest.
"""

import asyncio
import json
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final

from pydantic import ValidationError

from faults.chaos.recorder import Recorder
from faults.judging.entry import Entry
from faults.proxy.http1 import Part, Splitter, is_data, path_of
from shared.errors import from_wire
from shared.protocol.line import AnswerHead, CallHead, unpack

PIECE: Final = 65_536
CONNECT_S: Final = 10.0
DRAIN_S: Final = 3_600.0
VERBS: Final = {"claim": "poll", "report": "report", "refuse": "refuse", "run": "run",
                "heartbeat": "heartbeat", "finish": "finish"}  # fmt: skip
TURNED_DOWN: Final = (b"404", b"409", b"410")


class Tap:
    """It listens on `port` for one worker, and speaks to `upstream`."""

    def __init__(
        self, who: Callable[[], str], upstream: tuple[str, int], recorder: Recorder
    ) -> None:
        self.port = 0
        self._upstream = upstream
        self._who = who
        self._recorder = recorder
        self._server: asyncio.Server | None = None
        self._links: dict[asyncio.Task[None], None] = {}

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._link, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Nobody listens, and no connection is left."""
        if self._server is not None:
            self._server.close()
        links = list(self._links)
        for link in links:
            link.cancel()
        if links:
            await asyncio.wait(links)

    async def _link(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._links[task] = None
        far: asyncio.StreamWriter | None = None
        talk = _Talk(self._who(), self._recorder)
        try:
            async with asyncio.timeout(CONNECT_S):
                far_reader, far = await asyncio.open_connection(*self._upstream)
            async with asyncio.TaskGroup() as group:
                group.create_task(_carry(reader, far, talk.up), name="tap.up")
                group.create_task(_carry(far_reader, writer, talk.down), name="tap.down")
        except* (OSError, TimeoutError):
            pass  # the other side hears of it when its connection ends
        except* asyncio.CancelledError:
            pass  # it was stopped; a callback of asyncio's own would call this an error
        finally:
            talk.broken()
            for end in (writer, far):
                if end is not None:
                    end.transport.abort()
            del self._links[task]


class _Ended(OSError):
    """One side has closed: so does the other."""


async def _carry(
    source: asyncio.StreamReader, target: asyncio.StreamWriter, understand: Callable[[bytes], None]
) -> None:
    while data := await source.read(PIECE):
        understand(data)  # before it goes on, so that nothing that follows can come earlier
        target.write(data)
        async with asyncio.timeout(DRAIN_S):
            await target.drain()
    raise _Ended


class _Talk:
    """One connection, understood as far as it is a line."""

    def __init__(self, who: str, recorder: Recorder) -> None:
        self._who = who
        self._recorder = recorder
        self._requests = Splitter(is_response=False)
        self._responses = Splitter(is_response=True)
        self._open: dict[int, Entry] = {}
        self._paths: deque[str] = deque()  # of requests that have not been answered

    def up(self, data: bytes) -> None:
        for piece in self._requests.feed(data):
            if piece.part is Part.HEAD:
                self._paths.append(path_of(piece.first_line))
            elif piece.part is Part.FRAME and is_data(piece.data):
                self._asked(_payload(piece.data))

    def down(self, data: bytes) -> None:
        for piece in self._responses.feed(data):
            if piece.part is Part.HEAD:
                self._answered_request(piece.first_line[9:12])
            elif piece.part is Part.FRAME and is_data(piece.data):
                self._answered(_payload(piece.data))

    def _answered_request(self, status: bytes) -> None:
        if status == b"101":
            self._requests.upgrade()
            self._responses.upgrade()
        if status == b"100" or not self._paths:
            return
        steps = self._paths.popleft().split("/")
        if status in TURNED_DOWN and steps[:3] == ["", "v1", "attempts"] and len(steps) > 3:
            self._recorder.event(self._who, "turned_down", attempt=steps[3])

    def broken(self) -> None:
        """Nobody will hear the answers that have not come."""
        for invoked in self._open.values():
            self._recorder.fail(
                invoked, is_certain=False, error="LineBroken", message="the connection ended"
            )
        self._open.clear()

    def _asked(self, payload: bytes) -> None:
        with suppress(ValidationError, ValueError):  # a fault has spoiled it
            head, body = unpack(payload, CallHead)
            op = VERBS.get(head.verb)
            if op is not None:
                facts = _of_call(op, json.loads(body))
                self._open[head.number] = self._recorder.invoke(self._who, op, **facts)

    def _answered(self, payload: bytes) -> None:
        with suppress(ValidationError, ValueError, KeyError, TypeError):
            head, body = unpack(payload, AnswerHead)
            invoked = self._open.pop(head.number, None)
            if invoked is None:
                return
            told = json.loads(body or b"{}")
            if head.is_error:
                self._recorder.failed(invoked, from_wire(told["code"], told["message"], {}))
                return
            self._recorder.answer(invoked, **_of_answer(invoked.op, told))
            if invoked.op == "poll":
                for claim in told["claims"]:
                    self._recorder.event(
                        self._who,
                        "claim",
                        run=claim["run_id"],
                        job=claim["job_id"],
                        attempt=claim["attempt_id"],
                        fence=claim["fence"],
                    )


def _of_call(op: str, ask: dict[str, Any]) -> dict[str, Any]:
    """What matters of it; no token is among that."""
    match op:
        case "report":
            return {"status": ask["status"], "attempts": ask["attempts"]}
        case "poll":
            return {"claim_id": ask["claim_id"]}
        case "heartbeat":
            return {"leases": [lease["attempt_id"] for lease in ask["leases"]]}
        case "finish":
            result = ask["result"]
            return {
                "attempt": ask["attempt_id"],
                "fence": ask["fence"],
                "outcome": result.get("outcome"),
                "exit_code": result.get("exit_code"),
                "artifacts": [a["path"] for a in ask.get("artifacts", [])],
            }
        case _:
            return {"attempt": ask["attempt_id"], "fence": ask["fence"]}


def _of_answer(op: str, told: dict[str, Any]) -> dict[str, Any]:
    match op:
        case "heartbeat":
            leases = told["leases"]
            by_verdict: dict[str, list[str]] = {"renewed": [], "cancel": [], "gone": []}
            for lease in leases:
                by_verdict[lease["verdict"]].append(lease["attempt_id"])
            renewed, to_stop = by_verdict["renewed"], by_verdict["cancel"]
            return {"renewed": renewed + to_stop, "to_stop": to_stop, "gone": by_verdict["gone"]}
        case "finish":
            return {"receipt": told.get("receipt_id"), "job_status": told.get("job_status")}
        case "run":
            return {"tries": told["tries"]}
        case "poll":
            return {"claims": len(told["claims"]), "reason": told.get("reason")}
        case _:
            return {}


def _payload(frame: bytes) -> bytes:
    """What a frame carries, unmasked (RFC 6455 section 5.2)."""
    length, at = frame[1] & 0x7F, 2
    if length >= 126:
        at += 2 if length == 126 else 8
    if not frame[1] & 0x80:
        return frame[at:]
    mask, masked = frame[at : at + 4], frame[at + 4 :]
    times = -(-len(masked) // 4)
    whole = int.from_bytes(masked.ljust(times * 4, b"\0"), "big") ^ int.from_bytes(
        mask * times, "big"
    )
    return whole.to_bytes(times * 4, "big")[: len(masked)] if masked else b""
