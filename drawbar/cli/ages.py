"""How people write spans and moments on a command line: `90d`, `36h`, `2026-01-31`."""

import re
from datetime import datetime, timedelta
from typing import Final

from drawbar.cli.failures import Usage

_UNITS: Final = {"s": 1, "m": 60, "h": 3_600, "d": 86_400, "w": 604_800}
_PARTS: Final = re.compile(r"(?:\d+(?:\.\d+)?[smhdw])+", re.ASCII)
_PART: Final = re.compile(r"(\d+(?:\.\d+)?)([smhdw])", re.ASCII)
LONGEST_S: Final = 100 * 366 * 86_400.0
LONGEST_PAUSE_S: Final = 366 * 86_400.0


def span_s(option: str, text: str) -> float:
    """Seconds of `90d`, `36h`, `1d12h`."""
    plain = text.strip().lower()
    if not _PARTS.fullmatch(plain):
        raise Usage(f"{option} takes a time like 90d, 36h or 45m; found {text!r}")
    seconds = sum(float(number) * _UNITS[unit] for number, unit in _PART.findall(plain))
    if seconds > LONGEST_S:
        raise Usage(f"{option} takes at most a hundred years; found {text!r}")
    return seconds


def moment(option: str, text: str, now: datetime) -> datetime:
    """`2d` ago; or a date or time as ISO 8601 writes it, in local time unless it says otherwise."""
    if _PARTS.fullmatch(text.strip().lower()):
        return now - timedelta(seconds=span_s(option, text))
    try:
        return datetime.fromisoformat(text.strip()).astimezone()
    except (ValueError, OverflowError):
        raise Usage(
            f"{option} takes an age like 2d or 36h, or a date like 2026-01-31; found {text!r}"
        ) from None


def pause_s(for_: str | None, until: str | None, now: datetime) -> float | None:
    """How long a pause lasts; None: until somebody ends it. Usage: it would be over already."""
    if for_ is not None and until is not None:
        raise Usage("give --for or --until, not both")
    if for_ is not None:
        seconds = span_s("--for", for_)
    elif until is not None:
        try:
            end = datetime.fromisoformat(until.strip()).astimezone()
        except (ValueError, OverflowError):
            raise Usage(f"--until takes a time like 2026-01-31T18:00; found {until!r}") from None
        seconds = (end - now).total_seconds()
    else:
        return None
    if seconds <= 0:
        raise Usage(f"the pause would be over before it begins; found {for_ or until!r}")
    if seconds > LONGEST_PAUSE_S:
        raise Usage(f"a pause lasts at most a year, or without an end; found {for_ or until!r}")
    return seconds
