"""P2: of what tasks leave for each other, the values of the try that counts are there, once."""

from collections.abc import Iterator

from faults.judging.entry import OK
from faults.judging.evidence import Evidence
from faults.judging.waits import last_wait
from shared.protocol.states import JobStatus

Values = dict[str, str]


def left(e: Evidence) -> Iterator[str]:
    """I10. A value that was read otherwise than it was left last, or that is not to be there."""
    by_attempt: dict[str, Values] = {}  # so far
    for entry in e.entries:
        if entry.phase != OK or entry.op not in ("set_xcom", "list_xcoms", "get_xcom"):
            continue
        if entry.op == "set_xcom":
            values = by_attempt.setdefault(entry.facts["attempt"], {})
            values[entry.facts["key"]] = entry.facts["value"]
            continue
        reader, job = entry.facts["attempt"], entry.facts["job"]
        of = e.of.get(reader)
        if of is None:
            continue
        expected = _expected(e, by_attempt, of.run, job or of.job, None if job else reader)
        if expected is None:
            continue
        name = f"{of.run}/{job or of.job}"
        if entry.op == "list_xcoms":
            if sorted(entry.facts["keys"]) != sorted(expected):
                keys = entry.facts["keys"]
                yield f"{reader} found {keys} of {name}, which left {sorted(expected)}"
            continue
        key, found = entry.facts["key"], entry.facts["value"]
        if entry.facts["is_found"] != (key in expected) or expected.get(key, found) != found:
            yield f"{reader} found {found} of {name} under {key!r}: it left {expected.get(key)}"


def _expected(
    e: Evidence, by_attempt: dict[str, Values], run: int, job: str, attempt: str | None
) -> Values | None:
    """What the try has left that `attempt` is of, with the waits in it; without one, that by
    which the job succeeded. None: it did not, and its last attempt need not have said all."""
    if attempt is None:
        status = next(one.status for one in e.final.runs[run].jobs if one.id == job)
        if status is not JobStatus.SUCCESS:
            return None
        attempt = e.final.attempts[run, job][-1].attempt_id
    tries: list[str] = []
    last: str | None = attempt
    while last is not None:
        tries.append(last)
        last = last_wait(e.final.events[run], job, last)
    expected: Values = {}
    for one in reversed(tries):
        expected |= by_attempt.get(one, {})
    return expected
