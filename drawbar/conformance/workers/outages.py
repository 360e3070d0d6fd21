"""What a worker does when answers are lost, when it is told to wait, and when a side is away."""

from typing import Any, Final

from drawbar.conformance.case import Cases, expect, must
from drawbar.conformance.workers.cases import asked, away, only_first, stopped, text_of
from drawbar.conformance.workers.house import LEASE_S, REST_S, House
from shared.errors import Overloaded, StaleFence
from shared.ids import RunId
from shared.protocol.gateway import ClaimReply

CASES: Final[Cases[House]] = Cases()
case = CASES.case
PAUSE_S: Final = 2.0
SLACK_S: Final = 0.1  # between two clocks that are read at different moments


async def succeeded(house: House, run_id: RunId, *, runs: int = 1) -> None:
    """The run is a success, and all the jobs so far were started once. Breach: they were not."""
    expect((await house.end_of(run_id)).status.value, "success", "the run")
    started = {note.ask.attempt_id for note in house.notes.granted("run")}
    expect(len(started), runs, "attempts that were run")


@case(
    "worker.lost-claim",
    "A claim or `run` whose answer it did not get it repeats as it was, and starts the job once.",
)
async def lost_claim(house: House) -> None:
    run_id = await house.submit(f"echo started >> {house.file('trace')}")
    house.at_gateway.after["claim"] = only_first(1, away("gateway"))
    await house.start()
    await succeeded(house, run_id)
    lost, again = house.notes.of("claim")[:2]
    expect(again.ask.claim_id, lost.ask.claim_id, "the claim_id of the claim that it repeated")
    expect(house.file("trace").read_text(), "started\n", "what the job wrote")


@case(
    "worker.lost-run",
    "A claim or `run` whose answer it did not get it repeats as it was, and starts the job once.",
)
async def lost_run(house: House) -> None:
    run_id = await house.submit(f"echo started >> {house.file('trace')}")
    house.at_gateway.after["run"] = only_first(1, away("gateway"))
    await house.start()
    await succeeded(house, run_id)
    asked = {(note.ask.attempt_id, note.ask.fence) for note in house.notes.of("run")}
    expect(len(asked), 1, "attempts of which it asked to run")
    expect(house.file("trace").read_text(), "started\n", "what the job wrote")


@case(
    "worker.stale-finish",
    "It repeats `finish`, the same each time, until there is a receipt or a 409.",
)
async def stale_finish(house: House) -> None:
    house.at_gateway.before["finish"] = lambda _: StaleFence(state="lost")
    await house.submit("true")
    await house.start()
    first = await asked(house, "finish")
    del house.at_gateway.before["finish"]
    after = await house.submit("true")
    await succeeded(house, after, runs=2)
    same = [n for n in house.notes.of("finish") if n.ask.attempt_id == first.ask.attempt_id]
    expect(len(same), 1, "reports of a result that was turned down as too late")


@case(
    "worker.retry-after",
    "Told by an error or with `noJob` when to ask again, it claims no sooner.",
)
async def retry_after(house: House) -> None:
    answers = [Overloaded("too much to do", retry_after_s=PAUSE_S), None]
    told: list[float] = []

    def busy(_: Any) -> Overloaded | None:
        if not answers:
            return None
        told.append(house.runtime.mono())
        return answers.pop(0)

    def no_job(_: Any) -> ClaimReply:
        if not answers:
            del house.at_gateway.instead["claim"]
        return ClaimReply(claims=(), reason="jobstore_unavailable", retry_after_s=PAUSE_S)

    house.at_gateway.before["claim"] = busy
    house.at_gateway.instead["claim"] = no_job
    await house.start()

    async def asked_again() -> bool | None:
        return True if len(house.notes.of("claim")) >= 3 else None

    await house.until(asked_again, "it had not claimed for the third time")
    times = [note.asked_at for note in house.notes.of("claim")]
    for what, since, until in (("a 503", told[0], times[1]), ("noJob", told[1], times[2])):
        waited_s = until - since + SLACK_S
        must(
            waited_s >= PAUSE_S,
            f"told by {what} to wait {PAUSE_S:g} s, it asked again after {waited_s:.1f} s",
        )


@case("worker.gateway-away", "While the gateway cannot be reached, what runs goes on,")
async def gateway_away(house: House) -> None:
    run_id = await house.submit(f"sleep 1; echo ended >> {house.file('trace')}")
    await house.start()
    await house.noted("run")
    house.cut("gateway")
    await text_of(house, "trace")
    await house.runtime.sleep(0.5)  # so that it has something to report, and nobody hears it
    house.mend("gateway")
    await succeeded(house, run_id)
    expect(house.file("trace").read_text(), "ended\n", "what the job wrote")


@case(
    "worker.cut-off",
    "When none was answered for as long as `lease_s`, it has stopped the job's processes:",
)
async def cut_off(house: House) -> None:
    await house.submit(f"echo $$ > {house.file('pid')}; sleep 60")
    await house.start()
    await text_of(house, "pid")
    house.cut("gateway")
    await stopped(house, "pid", within_s=LEASE_S + SLACK_S)


@case("worker.registry-away", "While the registry cannot be reached, it claims nothing more.")
async def registry_away(house: House) -> None:
    await house.start()
    await asked(house, "claim")
    house.cut("registry")
    runs = [await house.submit(f"touch {house.file('trace')}") for _ in range(2)]
    await house.runtime.sleep(3 * REST_S)
    claims = [claim for n in house.notes.granted("claim") for claim in n.answer.claims]
    must(len(claims) <= len(runs), f"it claimed {len(claims)} times, and there were 2 jobs")
    expect(len(house.notes.of("run")), 0, "calls of run while the registry was away")
    must(not house.file("trace").exists(), "a job was started while the registry was away")
    house.mend("registry")
    for n, run_id in enumerate(runs, start=1):
        expect((await house.end_of(run_id)).status.value, "success", f"run {n}, after the outage")


@case(
    "worker.killed",
    "A result without a receipt outlives it: killed, and started anew with the same data, it"
    " reports that.",
)
async def killed(house: House) -> None:
    run_id = await house.submit(f"echo started >> {house.file('trace')}")
    house.at_gateway.before["finish"] = away("gateway")
    await house.start()
    await asked(house, "finish")
    await house.kill()
    house.at_gateway.before.clear()
    await house.start()
    await succeeded(house, run_id)
    expect(house.file("trace").read_text(), "started\n", "what the job wrote")
