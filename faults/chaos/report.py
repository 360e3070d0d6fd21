"""What a chaos run came to, as text for people and as JSON for programs."""

from collections.abc import Sequence
from typing import Any, Final

from faults.chaos.story import Story
from faults.chaos.verdict import Verdict

SHOWN: Final = 5  # breaches of one promise
UNHEARD: Final = "not judged, as workers are not heard here"
SAYS: Final = {
    "P1": "an acknowledged run is not lost, every job ends once",
    "P2": "one live lease, one accepted result",
    "P3": "an acknowledged finish survives crashes",
    "P4": "no start without an acknowledged Working",
    "P5": "refused, lapsed and drained claims cost no try",
    "P6": "a worker that is cut off stops its jobs in time",
    "P7": "results, logs and artifacts arrive, whole",
    "P8": "a job's processes are gone before its slot is free",
    "P9": "no secret is seen",
    "P10": "nonsense is turned away and changes nothing",
}


def failures(story: Story, verdicts: Sequence[Verdict]) -> list[str]:
    """Why the run has not shown what its plan expects; empty: it has."""
    found = [f"{v.promise} is broken" for v in verdicts if v.word == "broken"]
    found += [
        f"{v.promise} is expected, and was not exercised"
        for v in verdicts
        if v.promise in story.plan.expect and v.word == "not exercised"
    ]
    found += [
        f"{v.promise} is expected, and cannot be judged here"
        for v in verdicts
        if v.promise in story.plan.expect and v.word == "not judged"
    ]
    if story.aborted is not None:
        found.append(f"aborted: {story.aborted}")
    return found


def as_text(story: Story, verdicts: Sequence[Verdict]) -> str:
    """A line for each promise, with what it rests on, and what breaks it."""
    plan = story.plan
    lines = [
        f"{plan.name}: seed {plan.seed}, {story.took_s:.0f} s, schedule {story.schedule}",
        f"{story.faults} faults: {_counted(story.done) or 'none'}; "
        f"proxies struck {story.proxy_strikes} times, points {story.point_strikes} times",
    ]
    lines += [f"not done: {what}: {why}" for what, why in story.skipped.items()]
    if story.missed:
        lines.append(f"missed, because their target was down already: {_counted(story.missed)}")
    lines += [f"struck nobody: {step}" for step in story.idle_steps()]
    attempts = sum(map(len, story.final.attempts.values()))
    jobs = len(story.final.attempts)
    lines += [
        f"{len(story.final.runs)} runs, {jobs} jobs, {attempts} attempts, "
        f"{len(story.entries)} entries in the history; drained {story.drain_s:.1f} s after healing",
        "",
    ]
    for verdict in verdicts:
        mark = " " if verdict.promise not in plan.expect else "*"
        promise = verdict.promise.value
        lines.append(f"{mark}{promise:<4} {verdict.word:<14} {SAYS[promise]}")
        lines.append(f"      {', '.join(verdict.invariants)}: {_counted(verdict.seen)}")
        if verdict.unjudged:
            lines.append(f"      {UNHEARD}: {', '.join(verdict.unjudged)}")
        lines += [f"      BROKEN {breach}" for breach in verdict.breaches[:SHOWN]]
        if len(verdict.breaches) > SHOWN:
            lines.append(f"      … and {len(verdict.breaches) - SHOWN} more")
    found = failures(story, verdicts)
    lines += ["", "; ".join(found) if found else "nothing broken (* expected by the plan)"]
    return "\n".join(lines)


def as_object(story: Story, verdicts: Sequence[Verdict]) -> dict[str, Any]:
    return {
        "name": story.plan.name,
        "seed": story.plan.seed,
        "schedule": story.schedule,
        "took_s": round(story.took_s, 3),
        "drain_s": round(story.drain_s, 3),
        "aborted": story.aborted,
        "faults": dict(story.done),
        "missed": dict(story.missed),
        "skipped": dict(story.skipped),
        "struck_nobody": story.idle_steps(),
        "proxy_strikes": story.proxy_strikes,
        "point_strikes": story.point_strikes,
        "jobs": len(story.final.attempts),
        "attempts": sum(map(len, story.final.attempts.values())),
        "verdicts": [
            {
                "promise": v.promise.value,
                "verdict": v.word,
                "expected": v.promise in story.plan.expect,
                "invariants": list(v.invariants),
                "seen": v.seen,
                "unjudged": list(v.unjudged),
                "breaches": list(v.breaches),
            }
            for v in verdicts
        ],
        "failures": failures(story, verdicts),
    }


def _counted(counts: Any) -> str:
    return ", ".join(f"{count:,} {what}" for what, count in counts.items())
