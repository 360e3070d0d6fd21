"""P4 and the pipeline's own order: what has to be before a job begins."""

from collections import defaultdict
from collections.abc import Iterator

from faults.judging.entry import INVOKED, OK, Entry
from faults.judging.evidence import Evidence
from shared.protocol.pipeline import JobSpec, When
from shared.protocol.states import FAILURES, JobStatus


def announced(e: Evidence) -> Iterator[str]:
    """I7. A job started on the strength of an older report, of another incarnation's, of none."""
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
            yield f"{entry.who} started {attempt}, which it never claimed"
        elif not any(
            report.call > claim and report.n < entry.n and attempt in report.facts["attempts"]
            for report in working[entry.who]
        ):
            yield f"{entry.who} started {attempt} without an acknowledged Working"


def newest(e: Evidence) -> Iterator[str]:
    """I7. A report that was acknowledged though a newer worker had taken its name."""
    enrolled: dict[str, list[tuple[int, int]]] = defaultdict(list)
    for entry in e.by_op["enrol", OK]:
        enrolled[entry.facts["worker"]].append((entry.n, entry.facts["incarnation"]))
    for entry in e.by_op["report", OK]:
        worker, incarnation = entry.facts.get("worker", ""), entry.facts.get("incarnation", 0)
        if any(n < entry.call and other > incarnation for n, other in enrolled[worker]):
            yield f"{entry.who} was obeyed as incarnation {incarnation}, which is not the newest"


def order(e: Evidence) -> Iterator[str]:
    """I5. A job that began before what it needs had succeeded, or with other inputs than theirs."""
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
                    yield f"{of.key} began before {need!r} was reported"
            elif not _runs_after(spec, status, may_fail=may_fail):
                yield f"{of.key} began although {need!r} is {status}"
            if need in spec.inputs:
                made_by = e.final.attempts[of.run, need][-1].attempt_id
                expected |= {p: made_by for p in e.final.artifacts[of.run, need]}
        placed = dict(entry.facts["inputs"])
        if placed != {path: e.made.artifact(by) for path, by in expected.items()}:
            yield f"{of.key} began with inputs {sorted(placed)}, not {sorted(expected)}"


def _runs_after(spec: JobSpec, status: JobStatus, *, may_fail: bool) -> bool:
    """Whether a job of that condition may begin with a need that ended other than well."""
    return spec.when is not When.ON_SUCCESS or (may_fail and status in FAILURES)
