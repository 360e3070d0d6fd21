"""Judges a universe by its history and by what the job service says in the end.

Each check names the promise (docs, P1 to P6) that it holds the system to, and would notice one
kind of bug. What happened in between is taken from callers, never from the code under test.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from shared.protocol.jobs import AttemptView, JobView
from shared.protocol.pipeline import JobSpec, PipelineSpec, When
from shared.protocol.states import FAILURES, AttemptStatus, JobStatus, RunStatus
from simulation.event_log import check_events, check_locks, check_stops
from simulation.final_state import FinalState
from simulation.history import FAILED, INVOKED, OK, UNKNOWN, Entry
from simulation.runner import artifact_of, line_of

UNSTARTED = (AttemptStatus.REFUSED, AttemptStatus.LAPSED)
LIVE = (AttemptStatus.CLAIMED, AttemptStatus.RUNNING)


@dataclass(frozen=True, slots=True)
class Of:
    """The job that an attempt is of, and its fence."""

    run: int
    job: str
    fence: int

    @property
    def key(self) -> tuple[int, str]:
        return self.run, self.job


@dataclass
class Evidence:
    """History and final state, indexed."""

    entries: Sequence[Entry]
    final: FinalState
    pipelines: Mapping[str, PipelineSpec]
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


def check(
    entries: Sequence[Entry], final: FinalState, pipelines: Sequence[PipelineSpec]
) -> list[str]:
    """Every broken promise, as a line. Empty: none was caught breaking."""
    evidence = Evidence(entries, final, {p.name: p for p in pipelines})
    return [
        *_submits(evidence),
        *_ends(evidence),
        *_never_unended(evidence),
        *_grants(evidence),
        *_one_live_lease(evidence),
        *_receipts(evidence),
        *_results(evidence),
        *_announced(evidence),
        *_tries(evidence),
        *_overlaps(evidence),
        *_order(evidence),
        *_known_errors(evidence),
        *check_events(final, evidence.pipelines),
        *check_locks(final, evidence.pipelines),
        *check_stops(final, evidence.pipelines),
    ]


# -- P1: nothing acknowledged is lost, every job ends once ----------------------------------------


def _submits(e: Evidence) -> Iterator[str]:
    """A submit that was replied to before it was durable; one that was stored twice."""
    names = Counter(run.name for run in e.final.runs.values())
    for entry in e.events("submitted"):
        run = e.final.runs.get(entry.facts["run"])
        if run is None or run.name != entry.facts["name"]:
            yield f"P1: acknowledged submit of {entry.facts['name']} is lost"
    asked = {entry.facts["name"] for entry in e.by_op["submit", INVOKED]}
    for name, count in names.items():
        if name not in asked:
            yield f"P1: {name} was never submitted"
        if count > 1:
            yield f"P1: {name} was stored {count} times under one key"
    for run in e.final.runs.values():
        if [job.id for job in run.jobs] != [job.id for job in e.pipelines[run.name].jobs]:
            yield f"P1: run {run.run_id} does not have the jobs that were submitted"


def _ends(e: Evidence) -> Iterator[str]:
    """A job that is stuck; a run whose end does not follow from its jobs."""
    for run in e.final.runs.values():
        allowed = {job.id for job in e.pipelines[run.name].jobs if job.allow_failure}
        for job in run.jobs:
            if not job.status.is_ended:
                yield f"P1: job {run.run_id}/{job.id} never ended: it is {job.status}"
        statuses = {job.status for job in run.jobs if job.id not in allowed}
        if any(job.status is JobStatus.CANCELLED and not _by_failure(job) for job in run.jobs):
            expected = RunStatus.CANCELLED
        elif statuses & set(FAILURES):
            expected = RunStatus.FAILED
        else:
            expected = RunStatus.SUCCESS
        was_cancelled = any(c.facts["run"] == run.run_id for c in e.by_op["cancel", INVOKED])
        if run.status is not expected and not (was_cancelled and run.status.is_ended):
            yield f"P1: run {run.run_id} is {run.status}, its jobs say {expected}"


def _by_failure(job: JobView) -> bool:
    """Whether it ended because another job of its run failed."""
    return job.reason is not None and job.reason.what == "fail_fast"


def _never_unended(e: Evidence) -> Iterator[str]:
    """An end that somebody saw and that was taken back, for example by a restart."""
    for entry in e.events("seen"):
        run = e.final.runs.get(entry.facts["run"])
        if run is None:
            yield f"P1: run {entry.facts['run']} was seen and is gone"
            continue
        now = {job.id: job.status.value for job in run.jobs}
        for job, status in entry.facts["ended"].items():
            if now.get(job) != status:
                yield f"P1: job {run.run_id}/{job} was seen {status}, is {now.get(job)}"
        if entry.facts["status"] not in (None, run.status.value):
            yield f"P1: run {run.run_id} was seen {entry.facts['status']}, is {run.status}"


# -- P2: one live lease, rising fences, one result ------------------------------------------------


def _grants(e: Evidence) -> Iterator[str]:
    """A job given to two workers at once; a fence used twice; a claim that was not durable."""
    holders: dict[tuple[int, str, int], set[tuple[str, str]]] = defaultdict(set)
    for entry in e.events("claim"):
        facts = entry.facts
        machine = entry.who.split(".")[0]
        holders[facts["run"], facts["job"], facts["fence"]].add((facts["attempt"], machine))
        known = e.of.get(facts["attempt"])
        if known != Of(facts["run"], facts["job"], facts["fence"]):
            yield f"P2: acknowledged claim {facts['attempt']} is not in the store: {known}"
    for grant, held_by in holders.items():
        if len(held_by) > 1:
            yield f"P2: {grant} was granted to {sorted(held_by)}"
    for key, attempts in e.final.attempts.items():
        fences = [attempt.fence for attempt in attempts]
        if fences != sorted(set(fences)):
            yield f"P2: fences of {key} do not rise: {fences}"
        for attempt in attempts:
            if attempt.status in LIVE:
                yield f"P2: attempt {attempt.attempt_id} of {key} still holds a lease"
    acknowledged: dict[tuple[int, str], Entry] = {}
    first_claims: set[str] = set()
    for entry in e.events("claim"):
        key = (entry.facts["run"], entry.facts["job"])
        before = acknowledged.get(key)
        if entry.facts["attempt"] in first_claims:
            continue
        first_claims.add(entry.facts["attempt"])
        if before is not None and _asked_later(e, entry, before):
            was, now = before.facts["fence"], entry.facts["fence"]
            if now <= was:
                yield f"P2: the fence of {key} was {was}, and {now} for a later claim"
        if before is None or entry.facts["fence"] > before.facts["fence"]:
            acknowledged[key] = entry


def _asked_later(e: Evidence, claim: Entry, before: Entry) -> bool:
    """Whether the poll that brought `claim` was sent after `before` had arrived."""
    polls = [p for p in e.by_op["poll", OK] if p.who == claim.who and p.n < claim.n]
    return bool(polls) and polls[-1].call > before.n


def _one_live_lease(e: Evidence) -> Iterator[str]:
    """An old attempt that is still served although somebody else has the job: no fence check."""
    newer_claims: dict[tuple[int, str], list[tuple[int, int]]] = defaultdict(list)
    for entry in e.events("claim"):
        newer_claims[entry.facts["run"], entry.facts["job"]].append((entry.n, entry.facts["fence"]))

    def is_superseded(attempt: str, at: int) -> bool:
        of = e.of.get(attempt)
        return of is not None and any(
            n < at and fence > of.fence for n, fence in newer_claims[of.key]
        )

    for entry in e.by_op["run", OK]:
        if is_superseded(entry.facts["attempt"], entry.call):
            yield f"P2: run of {entry.facts['attempt']} was accepted after a newer claim"
    for entry in e.by_op["heartbeat", OK]:
        for attempt in entry.facts["renewed"]:
            if is_superseded(attempt, entry.call):
                yield f"P2: the lease of {attempt} was renewed after a newer claim"
    first_finish: dict[str, int] = {}
    for entry in e.by_op["finish", INVOKED]:
        first_finish.setdefault(entry.facts["attempt"], entry.n)
    for entry in e.by_op["finish", OK]:
        attempt = entry.facts["attempt"]
        if entry.facts["receipt"] and is_superseded(attempt, first_finish[attempt]):
            yield f"P2: the result of {attempt} was accepted after a newer claim"


# -- P3: what was acknowledged is what is stored --------------------------------------------------


def _receipts(e: Evidence) -> Iterator[str]:
    """A finish that was replied to before it was durable; a receipt that changes."""
    for entry in e.by_op["finish", OK]:
        facts, stored = entry.facts, e.attempts.get(entry.facts["attempt"])
        if facts["receipt"] is None:
            continue
        if stored is None or stored.status is not AttemptStatus.REPORTED:
            status = "unknown" if stored is None else stored.status
            yield f"P3: acknowledged finish of {facts['attempt']} is lost: it is {status}"
        elif stored.receipt_id != facts["receipt"]:
            yield f"P3: receipt {facts['receipt']} of {facts['attempt']} is {stored.receipt_id}"
        elif stored.exit_code != facts["exit_code"]:
            yield f"P3: {facts['attempt']} reported {facts['exit_code']}: {stored.exit_code} kept"
        elif stored.fence != facts["fence"]:
            yield f"P3: {facts['attempt']} finished with fence {facts['fence']}, not its own"
        elif facts["job_status"] == "success":
            run, job = e.of[facts["attempt"]].key
            kept = e.final.artifacts[run, job]
            if sorted(kept) != sorted(facts["artifacts"]):
                yield f"P3: artifacts of {facts['attempt']} are {sorted(kept)}"


def _results(e: Evidence) -> Iterator[str]:
    """A success that no process earned; a log or artifact that differs from what was written."""
    exits = {entry.facts["attempt"]: entry.facts for entry in e.events("exit")}
    receipts: Counter[str] = Counter()
    for run in e.final.runs.values():
        for job in run.jobs:
            attempts = e.final.attempts[run.run_id, job.id]
            reported = [a for a in attempts if a.status is AttemptStatus.REPORTED]
            receipts.update(a.receipt_id or "none" for a in reported)
            won = [a for a in reported if a.exit_code == 0 and exits.get(a.attempt_id)]
            if job.status is JobStatus.SUCCESS and (not won or won[-1] is not attempts[-1]):
                yield f"P2: job {run.run_id}/{job.id} is a success that its last claim did not earn"
            for a in reported:
                yield from _result_of(e, a, exits.get(a.attempt_id, {}))
            for path, content in e.final.artifacts[run.run_id, job.id].items():
                if content != artifact_of(attempts[-1].attempt_id):
                    yield f"P3: artifact {path} of {run.run_id}/{job.id} is not what was made"
    for receipt, count in receipts.items():
        if count > 1:
            yield f"P2: receipt {receipt} names {count} results"


def _result_of(e: Evidence, a: AttemptView, ended: Mapping[str, object]) -> Iterator[str]:
    if a.exit_code is not None and ended.get("exit_code") != a.exit_code:
        yield f"P2: {a.attempt_id} is stored with exit code {a.exit_code}, its process had {ended}"
    size = ended.get("log_bytes", 0)
    assert isinstance(size, int)
    written = bytearray()
    while len(written) < size:
        written += line_of(a.attempt_id, len(written) // len(line_of(a.attempt_id, 0)))
    if e.final.logs[a.attempt_id] != bytes(written):
        got = len(e.final.logs[a.attempt_id])
        yield f"P3: the log of {a.attempt_id} has {got} bytes, its process wrote {size}"


# -- P4: no start without an acknowledged Working -------------------------------------------------


def _announced(e: Evidence) -> Iterator[str]:
    """A job started on the strength of an older report, of another incarnation's, or of none."""
    claimed: dict[tuple[str, str], int] = {}
    for entry in e.events("claim"):
        claimed.setdefault((entry.who, entry.facts["attempt"]), entry.n)
    working: dict[str, list[Entry]] = defaultdict(list)
    for entry in e.by_op["report", OK]:
        if entry.facts["status"] == "Working":
            working[entry.who].append(entry)
    for entry in e.events("spawn"):
        attempt = entry.facts["attempt"]
        claim = claimed.get((entry.who, attempt))
        if claim is None:
            yield f"P4: {entry.who} started {attempt}, which it never claimed"
        elif not any(
            report.call > claim and report.n < entry.n and attempt in report.facts["attempts"]
            for report in working[entry.who]
        ):
            yield f"P4: {entry.who} started {attempt} without an acknowledged Working"


# -- P5: only an accepted run spends a try --------------------------------------------------------


def _tries(e: Evidence) -> Iterator[str]:
    """A refusal or a lapse that costs a try; a run that costs none, or two."""
    asked = {entry.facts["attempt"] for entry in e.by_op["run", INVOKED]}
    accepted = {entry.facts["attempt"] for entry in e.by_op["run", OK]}
    drained = {
        entry.facts["attempt"]
        for entry in e.by_op["finish", INVOKED]
        if entry.facts["outcome"] == "drained"
    }
    for entry in e.by_op["refuse", OK]:
        stored = e.attempts.get(entry.facts["attempt"])
        if stored is None or stored.status is not AttemptStatus.REFUSED:
            yield f"P5: acknowledged refusal of {entry.facts['attempt']} is lost"
    for run in e.final.runs.values():
        for job in run.jobs:
            attempts = e.final.attempts[run.run_id, job.id]
            started = {a.attempt_id for a in attempts if a.started_at is not None}
            name = f"{run.run_id}/{job.id}"
            for a in attempts:
                if a.status in UNSTARTED and a.attempt_id in started | accepted:
                    yield f"P5: {a.attempt_id} of {name} is {a.status}, and was run"
            if not started <= asked:
                yield f"P5: {name} counts starts that nobody asked for"
            forgiven = {
                a.attempt_id
                for a in attempts
                if a.attempt_id in drained and a.status is AttemptStatus.REPORTED
            }
            fair = {len(started - forgiven)}
            if job.status is JobStatus.CANCELLED:  # a drained last attempt is not forgiven
                last = {a.attempt_id for a in attempts[-1:]}
                fair.add(len(started - (forgiven - last)))
            if job.tries not in fair:
                yield f"P5: {name} spent {job.tries} tries on {len(started)} starts"
            if not {a.attempt_id for a in attempts} & accepted <= started:
                yield f"P5: {name} has an acknowledged run that is not in the store"


# -- P6: a worker cut off stops before another may start ------------------------------------------


def _overlaps(e: Evidence) -> Iterator[str]:
    """Two processes of one job at once, unless the first one's worker was itself stopped."""
    ends = {entry.facts["attempt"]: entry.at for entry in e.events("exit")}
    paused: dict[str, list[float]] = defaultdict(list)
    for entry in e.events("pause"):
        paused[entry.facts["process"]].append(entry.at)
    running: dict[tuple[int, str], list[Entry]] = defaultdict(list)
    for entry in e.events("spawn"):
        of = e.of.get(entry.facts["attempt"])
        if of is None:
            yield f"P1: {entry.facts['attempt']} was run and is unknown"
            continue
        for earlier in running[of.key]:
            ended_at = ends.get(earlier.facts["attempt"], float("inf"))
            if ended_at > entry.at and not paused[earlier.who]:
                old, new = earlier.facts["attempt"], entry.facts["attempt"]
                yield f"P6: {old} still ran when {new} of the same job began"
        running[of.key].append(entry)


# -- the pipeline's own order ---------------------------------------------------------------------


def _order(e: Evidence) -> Iterator[str]:
    """A job that began before what it needs had succeeded, or with other inputs than theirs."""
    finished: dict[tuple[int, str], int] = {}  # the first report that may have made it a success
    for entry in e.by_op["finish", INVOKED]:
        of = e.of.get(entry.facts["attempt"])
        if of is not None:
            finished.setdefault(of.key, entry.n)
    for entry in e.events("spawn"):
        of = e.of.get(entry.facts["attempt"])
        if of is None:
            continue
        run = e.final.runs[of.run]
        pipeline = e.pipelines[run.name]
        spec = next(job for job in pipeline.jobs if job.id == of.job)
        expected: dict[str, str] = {}
        for need in spec.needs:
            status = next(job.status for job in run.jobs if job.id == need)
            may_fail = next(j.allow_failure for j in pipeline.jobs if j.id == need)
            if status is JobStatus.SUCCESS:
                if finished.get((of.run, need), entry.n) >= entry.n:
                    yield f"order: {of.key} began before {need!r} was reported"
            elif not _runs_after(spec, status, may_fail=may_fail):
                yield f"order: {of.key} began although {need!r} is {status}"
            if need in spec.inputs:
                made_by = e.final.attempts[of.run, need][-1].attempt_id
                expected |= {p: made_by for p in e.final.artifacts[of.run, need]}
        placed = dict(entry.facts["inputs"])
        if placed != {path: artifact_of(by) for path, by in expected.items()}:
            yield f"order: {of.key} began with inputs {sorted(placed)}, not {sorted(expected)}"


def _runs_after(spec: JobSpec, status: JobStatus, *, may_fail: bool) -> bool:
    """Whether a job of that condition may begin with a need that ended other than well."""
    return spec.when is not When.ON_SUCCESS or (may_fail and status in FAILURES)


def _known_errors(e: Evidence) -> Iterator[str]:
    """A service that crashed on a request, or an error that no contract names."""
    for entry in e.entries:
        if entry.phase == FAILED and entry.facts["error"] == "ServiceError":
            yield f"{entry.op} of {entry.who} met an internal error: {entry.facts['message']}"


def unanswered(entries: Sequence[Entry]) -> Counter[str]:
    """How often calls failed for certain, or were left in doubt."""
    return Counter(
        f"{entry.op}.{entry.facts['error']}"
        for entry in entries
        if entry.phase in (FAILED, UNKNOWN)
    )
