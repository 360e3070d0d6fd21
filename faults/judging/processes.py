"""P1, P2 and P8: how often a command is started, for how long it runs, and how many at once."""

from collections import defaultdict
from collections.abc import Iterator

from faults.judging.disturbances import disturbances, is_disturbed
from faults.judging.entry import INVOKED, OK
from faults.judging.evidence import Evidence


def once(e: Evidence) -> Iterator[str]:
    """I8. An attempt whose command was started twice."""
    starts: dict[str, list[str]] = defaultdict(list)
    for entry in e.events("spawn"):
        starts[entry.facts["attempt"]].append(entry.who)
    for attempt, by in starts.items():
        if len(by) > 1:
            yield f"{attempt} was started {len(by)} times, by {by}"


def slots(e: Evidence) -> Iterator[str]:
    """I12. A machine that ran more processes at once than its worker has slots."""
    most = {
        entry.facts["name"]: entry.facts["slots"]
        for entry in e.by_op["enrol", OK]
        if "slots" in entry.facts
    }
    running: dict[str, set[str]] = defaultdict(set)
    machine_of: dict[str, str] = {}
    for entry in e.entries:
        if (entry.op, entry.phase) == ("spawn", "event"):
            machine = entry.who.split(".")[0]
            machine_of[entry.facts["attempt"]] = machine
            running[machine].add(entry.facts["attempt"])
            if len(running[machine]) > most.get(machine, len(running[machine])):
                yield f"{machine} ran {len(running[machine])} jobs, and has {most[machine]} slots"
        elif (entry.op, entry.phase) == ("exit", "event"):
            attempt = entry.facts["attempt"]
            running[machine_of.get(attempt, "")].discard(attempt)


def in_time(e: Evidence) -> Iterator[str]:
    """I12. A process that ran on when its time was over, on a machine that nothing disturbed."""
    if e.stop_s is None:
        return
    disturbed = disturbances(e)
    exits = {entry.facts["attempt"]: entry.at for entry in e.events("exit")}
    asked = {entry.facts["attempt"]: entry.at for entry in e.by_op["run", INVOKED]}
    for entry in e.events("spawn"):
        attempt, machine = entry.facts["attempt"], entry.who.split(".")[0]
        of, ended_at = e.of.get(attempt), exits.get(attempt)
        if of is None or ended_at is None:
            continue
        pipeline = e.pipelines[e.final.runs[of.run].name]
        spec = next(spec for spec in pipeline.jobs if spec.id == of.job)
        limit = spec.timeout_s or pipeline.timeout_s
        if limit is None or ended_at - entry.at <= limit + e.stop_s:
            continue
        # What kills a worker may do so while its keeper starts the process.
        if not is_disturbed(disturbed, machine, asked.get(attempt, entry.at), ended_at):
            took = ended_at - entry.at
            yield f"{attempt} of {of.key} ran for {took:.1f} s, and had {limit:g} s"
