"""What a verdict rests on: the history, the state in the end, and what jobs are known to do."""

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from faults.judging.entry import Entry
from faults.judging.final_state import FinalState
from shared.protocol.jobs import AttemptView, JobView, RunView
from shared.protocol.pipeline import PipelineSpec
from shared.protocol.states import AttemptStatus

UNSTARTED: Final = (AttemptStatus.REFUSED, AttemptStatus.LAPSED)
LIVE: Final = (AttemptStatus.CLAIMED, AttemptStatus.RUNNING)


@dataclass(frozen=True, slots=True)
class Of:
    """The job that an attempt is of, and its fence."""

    run: int
    job: str
    fence: int

    @property
    def key(self) -> tuple[int, str]:
        return self.run, self.job


@dataclass(frozen=True, slots=True)
class Made:
    """What the process of an attempt leaves behind, by the script that it follows."""

    log: Callable[[str, int], bytes]  # of an attempt: its first so many bytes
    artifact: Callable[[str], bytes]  # of an attempt: the content of every artifact


@dataclass
class Evidence:
    """History and final state, indexed."""

    entries: Sequence[Entry]
    final: FinalState
    pipelines: Mapping[str, PipelineSpec]
    made: Made
    rest_s: float | None = None  # of a job, from the worker that refused it
    stop_s: float | None = None  # from the end of its time to that of a process
    by_op: dict[tuple[str, str], list[Entry]] = field(init=False)
    of: dict[str, Of] = field(init=False)  # by attempt
    attempts: dict[str, AttemptView] = field(init=False)

    def __post_init__(self) -> None:
        self.by_op = defaultdict(list)
        for entry in self.entries:
            self.by_op[entry.op, entry.phase].append(entry)
        self.attempts, self.of = {}, {}
        for (run, job), attempts in self.final.attempts.items():
            for attempt in attempts:
                self.attempts[attempt.attempt_id] = attempt
                self.of[attempt.attempt_id] = Of(run, job, attempt.fence)

    def events(self, op: str) -> list[Entry]:
        return self.by_op[op, "event"]

    def jobs(self) -> Iterator[tuple[RunView, JobView, tuple[AttemptView, ...]]]:
        """Every job of every run, with its attempts in order."""
        for run in self.final.runs.values():
            for job in run.jobs:
                yield run, job, self.final.attempts[run.run_id, job.id]
