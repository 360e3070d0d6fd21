"""What only real processes can show: locks of the kernel, leftovers, secrets, nonsense."""

import re
from collections import defaultdict
from collections.abc import Iterator
from itertools import pairwise
from typing import Final

from faults.chaos.story import Story
from faults.judging.entry import INVOKED, OK
from faults.judging.event_log import ENDS
from faults.judging.evidence import UNSTARTED, Evidence
from shared.errors import BY_CODE
from shared.protocol.states import JobStatus

TOKEN: Final = re.compile(rb"eyJ[A-Za-z0-9_-]{8,}\.eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}")
FORGIVEN: Final = frozenset({"drained", "preempted"})  # ends of attempts that cost no try
LATER: Final = frozenset({"unavailable", "overloaded"})  # an answer during an outage


def company(e: Evidence) -> Iterator[str]:
    """I8. A process that found another one of its job alive, whose worker had not been stopped."""
    paused = {entry.facts["process"] for entry in e.events("pause")}
    spawns = e.events("spawn")
    for entry in spawns:
        if entry.facts["company"] != "overlap":
            continue
        key = (entry.facts["run"], entry.facts["job"])
        before = [s for s in spawns if s.n < entry.n and (s.facts["run"], s.facts["job"]) == key]
        if not any(s.who in paused for s in before):
            yield f"{entry.facts['attempt']} of {key} began while an earlier process was alive"


def spaced(e: Evidence) -> Iterator[str]:
    """I12. A job that was refused twice in a short time while the registry was down. A job service
    that began anew in between knows of no rest."""
    if e.rest_s is None:
        return
    asked: dict[tuple[int, str], dict[str, float]] = defaultdict(dict)
    for entry in e.by_op["refuse", INVOKED]:
        of = e.of.get(entry.facts["attempt"])
        if of is not None:
            asked[of.key].setdefault(entry.facts["attempt"], entry.at)
    away = list(_outages(e, "registry"))
    forgot = [began for began, _ in _outages(e, "jobstore")]
    for key, refusals in asked.items():
        for (one, since), (other, until) in pairwise(refusals.items()):
            if any(since <= at <= until for at in forgot):
                continue
            if until - since < e.rest_s and any(a <= since and until <= b for a, b in away):
                yield f"{key} was refused as {one}, and {until - since:.1f} s later as {other}"


def _outages(e: Evidence, service: str) -> Iterator[tuple[float, float]]:
    """From when until when it was down, or frozen."""
    since = None
    for entry in e.entries:
        if entry.who == service and entry.op in ("down", "frozen"):
            since = entry.at if since is None else since
        elif entry.who == service and entry.op in ("up", "thawed") and since is not None:
            yield since, entry.at
            since = None


def stored_tries(e: Evidence) -> Iterator[str]:
    """I6. Tries that are not the starts that are stored: for want of what workers say."""
    for run, job, attempts in e.jobs():
        started = [a for a in attempts if a.started_at is not None]
        free = sum(a.outcome in FORGIVEN for a in started)
        last_counts = job.status is JobStatus.CANCELLED and started[-1:] != []
        most = len(started) - free + (last_counts and started[-1].outcome in FORGIVEN)
        if not len(started) - free <= job.tries <= most:
            yield f"{run.run_id}/{job.id} spent {job.tries} tries on {len(started)} starts"
        for a in attempts:
            if a.status in UNSTARTED and a.started_at is not None:
                yield f"{a.attempt_id} of {run.run_id}/{job.id} is {a.status}, and was run"


def waited(e: Evidence) -> Iterator[str]:
    """I5. A job that was claimed before what it needs had ended, by the event log."""
    for run_id, events in e.final.events.items():
        needs = {job.id: job.needs for job in e.pipelines[e.final.runs[run_id].name].jobs}
        ended: set[str] = set()
        for event in events:
            job = event.job_id or ""
            if event.kind in ENDS:
                ended.add(job)
            elif event.kind == "job.claimed" and not ended >= set(needs[job]):
                yield f"{run_id}/{job} was claimed before {sorted(set(needs[job]) - ended)} ended"


def crowds(e: Evidence) -> Iterator[str]:
    """I12. More trees of processes alive on a worker than it has slots."""
    for entry in e.events("spawn"):
        if entry.facts["crowd"] == "crowded":
            yield f"{entry.facts['attempt']} began on {entry.who}, of whose slots none was free"


def leftovers(story: Story) -> Iterator[str]:
    """I12. A process that outlived every daemon."""
    for pid, words in story.left.items():
        yield f"process {pid} was left behind: {words[:200]}"


def drained(story: Story) -> Iterator[str]:
    """I12. Work that did not end after everything had been healed."""
    if not story.is_drained:
        open_ones = [
            f"{run_id}/{job.id} is {job.status}"
            for run_id, run in story.final.runs.items()
            for job in run.jobs
            if not job.status.is_ended
        ]
        limit = story.plan.steady_state.drained_within_s
        yield f"{limit:g} s after everything was healed, not all has ended: {open_ones[:5]}"


def unread(story: Story) -> Iterator[str]:
    """I12. A job service that cannot be asked what became of its runs."""
    if story.unread is not None:
        yield f"after everything was healed, the store cannot be read: {story.unread}"


def recovered(e: Evidence) -> Iterator[str]:
    """I15. An end that was seen before a crash of the job service, and is another one after it."""
    crashes = [n.n for n in e.events("down") if n.who == "jobstore"]
    for entry in e.events("seen"):
        if not crashes or entry.n > crashes[-1]:
            continue
        run = e.final.runs.get(entry.facts["run"])
        now = {} if run is None else {job.id: job.status.value for job in run.jobs}
        for job, status in entry.facts["ended"].items():
            if now.get(job) != status:
                yield f"{entry.facts['run']}/{job} was {status} before a crash, is {now.get(job)}"


def turned_away(e: Evidence) -> Iterator[str]:
    """I13. Nonsense that was taken, or answered with an error that no contract names."""
    for entry in e.by_op["nonsense", OK]:
        status, code = entry.facts["status"], entry.facts["code"]
        is_fine = 400 <= status < 500 or code in LATER
        if not is_fine or code not in BY_CODE:
            yield f"{entry.facts['case']}: answered with {status} {code or 'and no code'}"


def intruders(story: Story) -> Iterator[str]:
    """I13. Nonsense that has changed something."""
    if story.intruders:
        yield f"{story.intruders} runs were made of requests that were turned away"


def revealed(story: Story) -> Iterator[str]:
    """A secret in a log, an event, a job's environment or a command line."""
    for place, text in places(story):
        for what, secret in story.secrets.items():
            if secret in text:
                yield f"{what} is in {place}"
        if TOKEN.search(text):
            yield f"a token is in {place}"


def places(story: Story) -> Iterator[tuple[str, bytes]]:
    """Wherever a secret might have got to."""
    for path in sorted((story.folder / "logs").glob("*")):
        yield path.name, path.read_bytes()
    for run_id, events in story.final.events.items():
        yield (
            f"the events of run {run_id}",
            b"\n".join(event.model_dump_json().encode() for event in events),
        )
    for attempt, text in story.environments.items():
        yield f"the environment of {attempt}", text
    for attempt, log in story.final.logs.items():
        yield f"the log of {attempt}", log
    yield "a command line", "\n".join(story.argv).encode()
