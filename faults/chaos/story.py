"""All that is known of one chaos run when it is over, and the evidence that verdicts rest on."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Final

from faults.chaos.ledger import artifact_of
from faults.chaos.network import members_of
from faults.chaos.plan import ChaosPlan, Network, Points, Step, name_of
from faults.chaos.recorder import in_order
from faults.judging.entry import EVENT, Entry
from faults.judging.evidence import Evidence, Made
from faults.judging.final_state import FinalState
from shared.protocol.pipeline import PipelineSpec

NOTE: Final = b"[drawbar] "  # a line of the worker's own in a job's log
REST_OF_LEASE: Final = 1 / 3  # for as long a refused job rests, as the job service has it
DIRECT: Final = ("kill", "stop", "restart", "sigstop", "disk_full")  # each is one by itself


@dataclass
class Story:
    """What the run leaves."""

    plan: ChaosPlan
    folder: Path
    entries: Sequence[Entry]
    final: FinalState
    pipelines: Mapping[str, PipelineSpec]
    schedule: str  # its digest
    took_s: float = 0.0
    is_attached: bool = False
    is_drained: bool = True
    drain_s: float = 0.0
    unread: str | None = None  # why the store could not be read in the end
    aborted: str | None = None
    done: Mapping[str, int] = field(default_factory=dict)  # faults, by kind of step
    missed: Mapping[str, int] = field(default_factory=dict)
    skipped: Mapping[str, str] = field(default_factory=dict)
    left: Mapping[int, str] = field(default_factory=dict)  # processes after everything had ended
    argv: Sequence[str] = ()  # command lines that were seen
    secrets: Mapping[str, bytes] = field(default_factory=dict)
    environments: Mapping[str, bytes] = field(default_factory=dict)  # of jobs, by attempt
    intruders: int = 0  # runs that nonsense has made

    @property
    def faults(self) -> int:
        return sum(self.done.values())

    @property
    def proxy_strikes(self) -> int:
        return sum(_times(e) for e in self.entries if e.op == "struck" and "kind" in e.facts)

    @property
    def point_strikes(self) -> int:
        return sum(_times(e) for e in self.entries if e.op == "struck" and "point" in e.facts)

    @property
    def disturbances(self) -> int:
        """Whatever has really happened to somebody: a bad network may have met no bytes."""
        direct = sum(self.done.get(what, 0) for what in DIRECT)
        return direct + self.proxy_strikes + self.point_strikes

    def idle_steps(self) -> list[str]:
        """Steps that could be taken here, and have struck nobody."""
        return [
            f"{name_of(step)} (steps.{n})"
            for n, step in enumerate(self.plan.steps)
            if name_of(step) not in self.skipped and not self._has_struck(n, step)
        ]

    def _has_struck(self, n: int, step: Step) -> bool:
        match step:
            case Network():
                hops = members_of(step.hop, self.plan.targets.workers)
                kinds = {fault.kind for fault in step.faults}
                return any(
                    e.op == "struck" and e.who in hops and e.facts.get("kind") in kinds
                    for e in self.entries
                )
            case Points():
                return any(
                    e.op == "struck"
                    and any(
                        e.facts.get("action") == fault.action and fnmatchcase(point, fault.at)
                        for fault in step.faults
                        if (point := e.facts.get("point", ""))
                    )
                    for e in self.entries
                )
            case _:
                return any(e.op == "fault" and e.facts["step"] == n for e in self.entries)

    def evidence(self) -> Evidence:
        """In order of time. A process that could not say that it ended is given an end."""
        entries = in_order([*self.entries, *self._silent_ends()])
        self._take_notes_out()
        made = Made(log=self._log, artifact=artifact_of)
        rest_s = None if self.is_attached else self.plan.targets.lease_s * REST_OF_LEASE
        return Evidence(entries, self.final, self.pipelines, made, rest_s)

    def _silent_ends(self) -> list[Entry]:
        """Of processes that were killed: before the next one of their job found itself alone."""
        said = {e.facts["attempt"] for e in self.entries if e.op == "exit"}
        by_job: dict[tuple[int, str], list[Entry]] = defaultdict(list)
        for entry in sorted(self.entries, key=lambda e: e.at):
            if entry.op == "spawn":
                by_job[entry.facts["run"], entry.facts["job"]].append(entry)
        n, found = len(self.entries), []
        for spawns in by_job.values():
            for entry, later in zip(spawns, [*spawns[1:], None], strict=True):
                attempt = entry.facts["attempt"]
                if attempt in said or (later is not None and later.facts["company"] == "overlap"):
                    continue
                at = self.took_s if later is None else later.at
                size = len(self.final.logs.get(attempt, b""))
                facts = {"attempt": attempt, "exit_code": None, "log_bytes": size}
                found.append(Entry(n, at, entry.who, "exit", EVENT, n, facts))
                n += 1
        # At the same instant an end comes before a start: number them so.
        return [Entry(-e.n, e.at, e.who, e.op, e.phase, -e.n, e.facts) for e in found]

    def _take_notes_out(self) -> None:
        for attempt, log in self.final.logs.items():
            if NOTE in log:
                lines = log.splitlines(keepends=True)
                self.final.logs[attempt] = b"".join(x for x in lines if not x.startswith(NOTE))

    @staticmethod
    def _log(attempt_id: str, size_bytes: int) -> bytes:
        text, n = bytearray(), 0
        while len(text) < size_bytes:
            text += f"{attempt_id} line {n}\n".encode()
            n += 1
        return bytes(text[:size_bytes])


def _times(struck: Entry) -> int:
    """Who could only be asked now and then has told of several at once."""
    times: int = struck.facts.get("times", 1)
    return times
