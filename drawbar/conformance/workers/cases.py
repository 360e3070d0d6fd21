"""What a worker does: each sentence of the protocol, tried on the worker's process."""

import hashlib
import signal
from collections.abc import Awaitable, Callable
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

from drawbar.conformance.case import Cases, expect, must
from drawbar.conformance.workers.house import LEASE_S, SLOTS, House
from shared.errors import StaleFence, Unavailable
from shared.protocol.gateway import (
    HeartbeatReply,
    HeartbeatRequest,
    Incomplete,
    LeaseVerdict,
    Outcome,
    Receipt,
    Verdict,
)
from shared.protocol.registry import StatusReport
from shared.protocol.states import Desired, WorkerStatus

CASES: Final[Cases[House]] = Cases()
case = CASES.case
AWAY: Final = "away, for a while"


def away(service: str) -> Callable[[Any], Unavailable]:
    return lambda _: Unavailable(AWAY, service=service)


def only_first(count: int, error: Callable[[Any], Unavailable]) -> Callable[[Any], Any]:
    """The first `count` calls meet the error."""
    left = [count]

    def meddle(ask: Any) -> Unavailable | None:
        left[0] -= 1
        return error(ask) if left[0] >= 0 else None

    return meddle


async def text_of(house: House, name: str) -> str:
    """What a job wrote there, once it has."""

    async def written() -> str | None:
        path = house.file(name)
        return (path.read_text() or None) if path.exists() else None

    text: str = await house.until(written, f"the job had not written {name}")
    return text


async def asked(house: House, verb: str) -> Any:
    """The first call of that verb, whatever was answered."""

    async def found() -> Any:
        return next(iter(house.notes.of(verb)), None)

    return await house.until(found, f"the worker had not asked for {verb}")


def _state_of(pid: int) -> str:
    """As proc(5) has it. OSError: there is no such process."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


async def stopped(house: House, name: str, within_s: float = LEASE_S) -> None:
    """A job that wrote its pid there is gone. Breach: it runs."""
    pid = int(await text_of(house, name))

    async def gone() -> bool | None:
        try:
            return True if _state_of(pid) == "Z" else None  # it has ended, and nobody asked how
        except OSError:
            return True

    await house.until(gone, f"the job's process {pid} was still there", within_s)


@case(
    "worker.enrols",
    "It enrols before it claims, and reports `readyForWork` while it has nothing to do.",
)
async def enrols(house: House) -> None:
    await house.start()
    claim = await asked(house, "claim")
    await house.noted("report", status=WorkerStatus.READY)
    enrolled = house.notes.granted("enrol")
    must(enrolled, "it claimed without having enrolled")
    must((enrolled[0].answered_at or 0) <= claim.asked_at, "it claimed before it had enrolled")


@case("worker.slots", "It never claims more than it has free slots for.")
async def slots(house: House) -> None:
    first = [await house.submit("sleep 0.5") for _ in range(4)]
    await house.start()
    for run_id in first:
        await house.end_of(run_id)
    most = max(note.ask.free_slots for note in house.notes.of("claim"))
    must(most <= SLOTS, f"it has {SLOTS} slots, and claimed for {most}")
    live = 0
    for note in house.notes.all:
        live += len(note.answer.claims) if note.verb == "claim" and note.is_granted else 0
        live -= note.verb == "finish" and isinstance(note.answer, Receipt)
        must(live <= SLOTS, f"it has {SLOTS} slots, and had {live} attempts")


@case(
    "worker.announces",
    "Between a claim and its `run` it reports `Working`, and goes on once that is answered.",
)
async def announces(house: House) -> None:
    run_id = await house.submit("true")
    await house.start()
    await house.end_of(run_id)
    claim = next(note for note in house.notes.granted("claim") if note.answer.claims)
    run = house.notes.of("run")[0]
    between = [
        note
        for note in house.notes.granted("report")
        if note.ask.status is WorkerStatus.WORKING
        and note.asked_at >= (claim.answered_at or 0)
        and (note.answered_at or 0) <= run.asked_at
    ]
    must(between, "no report of Working was answered between the claim and its run")


@case("worker.refuses", "If it is not, it refuses the claim and starts nothing.")
async def refuses(house: House) -> None:
    trace = house.file("trace")

    def when_working(ask: StatusReport) -> Unavailable | None:
        is_working = ask.status is WorkerStatus.WORKING
        return Unavailable(AWAY, service="registry") if is_working else None

    house.at_registry.before["report"] = when_working
    await house.submit(f"touch {trace}")
    await house.start()

    async def decided() -> bool | None:
        return True if house.notes.granted("refuse") or house.notes.of("run") else None

    await house.until(decided, "it had not refused what it claimed")
    expect(len(house.notes.of("run")), 0, "calls of run while the registry was away")
    must(not trace.exists(), "the job was started while the registry was away")


@case(
    "worker.run",
    "It starts a job once `run` was answered with 200, with the context's argv and env.",
)
async def runs(house: House) -> None:
    run_id = await house.submit(f'echo "$WORD" > {house.file("trace")}', env={"WORD": "a word"})
    await house.start()
    run = await house.end_of(run_id)
    expect(run.status.value, "success", "the run")
    expect(house.file("trace").read_text(), "a word\n", "what the job wrote")
    asked = house.notes.granted("run")[0].ask
    claim = next(n for n in house.notes.granted("claim") if n.answer.claims).answer.claims[0]
    expect((asked.attempt_id, asked.fence), (claim.attempt_id, claim.fence), "what it ran")


@case("worker.run-refused", "After a 409 it starts nothing.")
async def run_refused(house: House) -> None:
    trace = house.file("trace")
    house.at_gateway.before["run"] = lambda _: StaleFence(state="cancelled")
    run_id = await house.submit(f"touch {trace}")
    await house.start()
    await asked(house, "run")
    await house.cancel(run_id)
    del house.at_gateway.before["run"]
    after = await house.submit("true")
    expect((await house.end_of(after)).status.value, "success", "a run after that")
    must(not trace.exists(), "the job was started although run had been answered with 409")


@case(
    "worker.heartbeats",
    "For all that it runs it sends heartbeats, each sooner than `lease_s` after the one before.",
)
async def heartbeats(house: House) -> None:
    run_id = await house.submit("sleep 3")
    await house.start()
    await house.end_of(run_id)
    run, finish = house.notes.granted("run")[0], house.notes.of("finish")[0]
    beats = [
        note.asked_at
        for note in house.notes.granted("heartbeat")
        if any(lease.attempt_id == run.ask.attempt_id for lease in note.ask.leases)
    ]
    must(len(beats) >= 2, f"{len(beats)} heartbeats while a job ran for 3 s")
    times = [run.answered_at or 0, *beats, finish.asked_at]
    longest = max(after - before for before, after in pairwise(times))
    must(longest < LEASE_S, f"{longest:.1f} s without a heartbeat; the lease is {LEASE_S:g} s")


@case("worker.cancel", "Told `cancel`, it stops the job's processes and finishes as `cancelled`.")
async def cancels(house: House) -> None:
    run_id = await house.submit(f"echo $$ > {house.file('pid')}; sleep 60")
    await house.start()
    await text_of(house, "pid")
    await house.cancel(run_id)
    await stopped(house, "pid", within_s=20)
    finish = await house.noted("finish")
    expect(finish.ask.result.outcome, Outcome.CANCELLED, "the outcome that it reported")
    expect((await house.end_of(run_id)).status.value, "cancelled", "the run")


def _all_gone(ask: HeartbeatRequest) -> HeartbeatReply:
    return HeartbeatReply(
        leases=tuple(
            LeaseVerdict(attempt_id=lease.attempt_id, verdict=Verdict.GONE, reason="lost")
            for lease in ask.leases
        )
    )


@case("worker.gone", "Told `gone`, it stops them.")
async def gone(house: House) -> None:
    await house.submit(f"echo $$ > {house.file('pid')}; sleep 60")
    await house.start()
    await text_of(house, "pid")
    house.at_gateway.instead["heartbeat"] = _all_gone
    await stopped(house, "pid", within_s=20)


@case(
    "worker.timeout",
    "When `timeout_s` is over, it stops the job's processes and finishes as `timeout`.",
)
async def times_out(house: House) -> None:
    run_id = await house.submit(f"echo $$ > {house.file('pid')}; sleep 60", timeout_s=1)
    await house.start()
    run = await house.end_of(run_id)
    expect(run.jobs[0].status.value, "timeout", "the job")
    await stopped(house, "pid", within_s=5)


@case("worker.exit-code", "It reports any exit code as it is.")
async def exit_codes(house: House) -> None:
    run_id = await house.submit("exit 113")
    await house.start()
    await house.end_of(run_id)
    result = house.notes.of("finish")[0].ask.result
    expect((result.outcome, result.exit_code), (Outcome.EXITED, 113), "what it reported")


@case(
    "worker.log", "The log that it names in `finish` is all that the job wrote, and arrives whole."
)
async def log(house: House) -> None:
    line = "0123456789abcdefghijklmnopqrstuvwxyz"
    run_id = await house.submit(f"for i in $(seq 8000); do echo {line}; done")
    await house.start()
    expect((await house.end_of(run_id)).status.value, "success", "the run")
    whole = (line + "\n").encode() * 8000
    summary = house.notes.of("finish")[-1].ask.log
    expect(summary.lost_bytes, 0, "lost_bytes")
    stored = b""
    async for piece in house.jobs.read_log(
        run_id,
        (await house.jobs.show_run(run_id)).jobs[0].id,
        attempt=None,
        offset=0,
        follow=False,
    ):
        stored += piece
    expect(hashlib.sha256(stored).hexdigest(), summary.sha256, "the hash of the log that came")
    must(whole in stored, f"of {len(whole)} bytes {len(stored)} came, or others")


@case("worker.artifacts", "Files that match `artifacts` arrive with it.")
async def artifacts(house: House) -> None:
    run_id = await house.submit("mkdir out; echo made > out/x; echo no > y", artifacts=["out/*"])
    await house.start()
    expect((await house.end_of(run_id)).status.value, "success", "the run")
    listed = (await house.jobs.list_artifacts(run_id, None)).artifacts
    expect([(a.artifact.path, a.artifact.size_bytes) for a in listed], [("out/x", 5)], "artifacts")


@case(
    "worker.finish-again",
    "It repeats `finish`, the same each time, until there is a receipt or a 409.",
)
async def finishes_again(house: House) -> None:
    house.at_gateway.before["finish"] = only_first(2, away("gateway"))
    house.at_gateway.after["finish"] = only_first(1, away("gateway"))  # the receipt got lost
    run_id = await house.submit("true")
    await house.start()
    receipt = await house.noted("finish")
    expect((await house.end_of(run_id)).status.value, "success", "the run")
    results = {note.ask.result for note in house.notes.of("finish")}
    expect(len(results), 1, "different results in repeated reports")
    must(isinstance(receipt.answer, Receipt), "it gave up without a receipt")
    expect(len(house.notes.granted("run")), 1, "calls of run: the job ran again")


@case("worker.resend", "After a 202 it sends what is missing, and repeats.")
async def resends(house: House) -> None:
    def want_more(_: Any) -> Incomplete:
        del house.at_gateway.instead["finish"]
        return Incomplete(resend_log_from=0, missing_artifacts=("out",))

    house.at_gateway.instead["finish"] = want_more
    run_id = await house.submit("echo said; echo made > out", artifacts=["out"])
    await house.start()
    expect((await house.end_of(run_id)).status.value, "success", "the run")
    first, *after = house.notes.granted("finish")
    sent = [n for n in house.notes.granted("put_artifact") if n.asked_at > (first.answered_at or 0)]
    must(sent, "it did not send the artifact that a 202 named as missing")
    chunks = [n.ask.offset for n in house.notes.granted("append_log")]
    tails = [n.ask.log.tail_offset for n in after]  # a short log may travel inside finish
    must(0 in (*chunks, *tails), "it did not send the log that a 202 wanted from its beginning")


@case(
    "worker.outage",
    "While the gateway cannot be reached, what runs goes on, and it asks less and less often.",
)
async def outage(house: House) -> None:
    run_id = await house.submit("sleep 1")
    await house.start()
    await house.noted("run")
    for verb in ("claim", "heartbeat"):
        house.at_gateway.before[verb] = away("gateway")
    began = len(house.notes.of("claim"))
    await house.runtime.sleep(3)
    asked = len(house.notes.of("claim")) - began
    must(asked <= 30, f"it asked {asked} times in 3 s although it was told to wait")
    house.at_gateway.before.clear()
    expect((await house.end_of(run_id)).status.value, "success", "the run, after the outage")
    expect(len(house.notes.granted("run")), 1, "calls of run: the job ran again")


@case("worker.ready-again", "Once it has the receipt, it reports `readyForWork`.")
async def ready_again(house: House) -> None:
    run_id = await house.submit("true")
    await house.start()
    await house.end_of(run_id)
    receipt = await house.noted("finish")

    async def reported() -> bool | None:
        reports = house.notes.granted("report")
        is_so = any(
            note.ask.status is WorkerStatus.READY and note.asked_at >= receipt.asked_at
            for note in reports
        )
        return True if is_so else None

    await house.until(reported, "it had not reported readyForWork", 10)


@case("worker.pause", "Told to pause, it claims nothing until it is resumed.")
async def pauses(house: House) -> None:
    await house.start()
    await house.noted("report", status=WorkerStatus.READY)
    await house.wish(desired=Desired.PAUSE)
    await house.noted("report", status=WorkerStatus.PAUSED)
    run_id = await house.submit("true")
    await house.runtime.sleep(1.5)
    claims = [note for note in house.notes.granted("claim") if note.answer.claims]
    expect(len(claims), 0, "jobs that it took while it was paused")
    await house.wish(desired=Desired.RUN)
    expect((await house.end_of(run_id)).status.value, "success", "the run, once it was resumed")


@case("worker.drain", "Told to drain, or sent SIGTERM, it claims nothing more, ends what it")
async def drains(house: House) -> None:
    await _leaves(house, lambda: house.wish(desired=Desired.DRAIN))


@case("worker.sigterm", "Told to drain, or sent SIGTERM, it claims nothing more, ends what it")
async def ends_on_sigterm(house: House) -> None:
    async def send() -> None:
        house.send(signal.SIGTERM)

    await _leaves(house, send)


async def _leaves(house: House, tell: Callable[[], Awaitable[None]]) -> None:
    running = await house.submit("sleep 1")
    await house.start()
    await house.noted("run")
    await tell()
    await house.noted("report", status=WorkerStatus.DRAINING)
    late = await house.submit("true")
    status = await house.ended(20)
    expect(status, 0, "its exit status")
    expect((await house.end_of(running)).status.value, "success", "the run that it was at")
    expect((await house.jobs.show_run(late)).status.value, "pending", "a run from after that")
    must(house.notes.granted("leave"), "it ended without leaving the registry")
