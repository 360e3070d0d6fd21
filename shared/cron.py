"""When a schedule's runs are due: a cron expression in a time zone, clock changes included.

Shared by whoever checks documents and by the job service. Two kinds of schedules meet a change of
the clocks differently, as people expect of them:

- one that runs in every hour goes by elapsed time: it neither pauses nor hurries;
- any other goes by the clock on the wall: a time that does not exist runs at the next moment that
  does, and a time that happens twice runs once, the first time.
"""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo, available_timezones

from cronsim import CronSim, CronSimError

NAMES: Final = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
LONGEST: Final = 200  # characters; far more than five useful fields have
# Looking back starts this much after the moment, on the wall: what is shown there twice may
# already have been shown. No zone has repeated more than two hours since 1945.
REPEATED: Final = timedelta(hours=3)

_EPOCH: Final = datetime(2000, 1, 1, tzinfo=UTC)  # any will do to see what an expression means


class BadSchedule(ValueError):
    """The expression or the time zone cannot be understood; the message says why."""


class Cron:
    """The times of one schedule, as moments in UTC, whole minutes each.

    Not in its zone: Python compares moments of the same zone by what the clock on the wall shows.
    """

    def __init__(self, text: str, timezone: str) -> None:
        """BadSchedule: not an expression, not a zone, or a date that never comes."""
        self.text = text
        self.zone = _zone(timezone)
        self._expression = _expression(text)
        try:
            hours = CronSim(self._expression, _EPOCH).hours
            if next(CronSim(self._expression, _EPOCH), None) is None:
                raise BadSchedule(f"{text!r} names a date that never comes")
        except CronSimError as error:
            raise BadSchedule(f"{text!r} is not a schedule: {_in_words(error)}") from None
        self._is_hourly = len(hours) == 24
        if self._is_hourly:  # or a library that knows the quirks of cron would treat it as daily
            fields = self._expression.split()
            self._expression = " ".join([fields[0], "*", *fields[2:]])

    def after(self, moment: datetime) -> datetime | None:
        """The first time later than `moment`; None: none within fifty years."""
        for time in self._forward(moment):
            if time > moment:
                return time
        return None

    def between(self, since: datetime, until: datetime, limit: int) -> list[datetime]:
        """The first `limit` times in [since, until)."""
        found: list[datetime] = []
        for time in self._forward(since - timedelta(minutes=1)):
            if time >= until or len(found) == limit:
                break
            if time >= since and time not in found[-1:]:
                found.append(time)
        return found

    def latest(self, after: datetime, until: datetime, limit: int) -> list[datetime]:
        """The last `limit` times in (after, until], oldest first.

        It looks back from `until`, so its cost does not grow with the span.
        """
        found: list[datetime] = []
        for time in self._backward(until):
            if time <= after or len(found) == limit:
                break
            if time <= until and time not in found[-1:]:
                found.append(time)
        return found[::-1]

    def explain(self) -> str:
        """The expression in English."""
        said: str = CronSim(self._expression, _EPOCH).explain()
        return said

    def _forward(self, moment: datetime) -> Iterator[datetime]:
        here = moment.astimezone(self.zone)
        if self._is_hourly:
            return map(_utc, CronSim(self._expression, here))
        return map(self._existing, CronSim(self._expression, here.replace(tzinfo=None)))

    def _backward(self, moment: datetime) -> Iterator[datetime]:
        here = (moment + timedelta(minutes=1)).astimezone(self.zone)
        if self._is_hourly:
            return map(_utc, CronSim(self._expression, here, reverse=True))
        wall = here.replace(tzinfo=None) + REPEATED
        return map(self._existing, CronSim(self._expression, wall, reverse=True))

    def _existing(self, wall: datetime) -> datetime:
        """What the clock on the wall shows, the first time; or the first moment after a gap."""
        while (moment := _aware(wall, self.zone)) is None:
            wall += timedelta(minutes=1)
        return moment


def _utc(moment: datetime) -> datetime:
    return moment.astimezone(UTC)


def _aware(wall: datetime, zone: ZoneInfo) -> datetime | None:
    moment = wall.replace(tzinfo=zone, fold=0).astimezone(UTC)
    return moment if moment.astimezone(zone).replace(tzinfo=None) == wall else None


def _expression(text: str) -> str:
    words = text.strip().lower()
    if words in NAMES:
        return NAMES[words]
    if words.startswith("@"):
        raise BadSchedule(f"{text!r} is not a schedule: its names are {', '.join(sorted(NAMES))}")
    fields = text.split()
    if len(fields) != 5 or len(text) > LONGEST:
        raise BadSchedule(
            f"{text[:LONGEST]!r} is not a schedule: it takes five fields (minute, hour, day of "
            f"month, month, day of week), found {len(fields)}"
        )
    return " ".join(fields)


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):  # unknown; not a name at all; a folder of zones
        pass
    from shared.pipeline_rules import nearest

    hint = nearest(name[:LONGEST], sorted(available_timezones()))
    raise BadSchedule(f"there is no time zone {name[:LONGEST]!r}{hint}")


def _in_words(error: CronSimError) -> str:
    said = str(error)
    return f"its {said.removeprefix('Bad ')} field is wrong" if said.startswith("Bad ") else said
