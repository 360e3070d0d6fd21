"""What a batch of universes must have seen for its verdicts to be worth anything.

A promise that was never put to the test is kept by every system. The numbers are about a third of
what a hundred seeds see, so that only a change of workload, faults or system falls below them.
"""

from collections import Counter
from typing import Final

from simulation.nemesis import FAULTS
from simulation.universe import Mode, Verdict

PER: Final = 100  # universes; of a smaller batch nothing is expected

LEAST_OF_EACH_FAULT: Final = 30
LEAST: Final = {
    "submit.ok": 500,
    "claim": 900,
    "spawn": 800,
    "seen": 2_000,
    "checked": 80,  # post-checks that came to an end
    "cancelled": 20,
    "finish.ok": 1_000,
    "finish.StaleFence": 50,  # results that came too late
    "run.StaleFence": 15,
    "refuse.ok": 15,
    "report.WorkerSuperseded": 30,
    "killed_at_point": 50,
    "gave_up": 60,  # services that ended by themselves as a disk had failed
    "took_up": 40,  # attempts that an earlier worker had begun
    "left": 50,
    "injected": 800,
    "lost_bytes": 10_000,
    "lost_outbox_bytes": 5_000,
    # Calls of which the caller does not know what came of them, and which it made again.
    "submit.Unavailable": 150,
    "poll.Unavailable": 80,
    "run.Unavailable": 200,
    "heartbeat.Unavailable": 300,
    "finish.Unavailable": 300,
    "enrol.Unavailable": 100,
}


class Tally:
    """What the universes of a batch saw together. Those in which not all heals do not count."""

    def __init__(self) -> None:
        self._universes = 0
        self._seen: Counter[str] = Counter()
        self._faults: Counter[str] = Counter()

    def add(self, verdict: Verdict) -> None:
        if verdict.mode is Mode.SAFETY:
            self._universes += 1
            self._seen.update(verdict.counts)
            self._faults.update(verdict.faults)

    def shortfalls(self) -> list[str]:
        """What was seen too rarely, as lines. Empty: enough was seen, or the batch is small."""
        hundreds = self._universes // PER
        floors = [(kind, self._faults[kind], LEAST_OF_EACH_FAULT) for kind, _ in FAULTS]
        floors += [(what, self._seen[what], least) for what, least in LEAST.items()]
        return [
            f"{what} happened {count} times in {self._universes} universes,"
            f" {least * hundreds} is the least"
            for what, count, least in dict.fromkeys(floors)
            if count < least * hundreds
        ]
