"""Durations as people write them in flow files: 90, "90s", "30m", "2h" or a timedelta."""

from __future__ import annotations

from datetime import timedelta

Duration = float | str | timedelta

_UNITS_S = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3_600.0, "d": 86_400.0}
MAX_S = 366 * 86_400.0


def seconds_of(duration: Duration) -> float:
    """ValueError: it is none, or longer than a year."""
    seconds = _read(duration)
    if seconds is None or not 0 <= seconds <= MAX_S:
        raise ValueError(
            f"expected a duration such as 90, '90s', '30m' or '2h', found {duration!r}"
        )
    return seconds


def _read(duration: Duration) -> float | None:
    if isinstance(duration, timedelta):
        return duration.total_seconds()
    if isinstance(duration, bool):
        return None
    if not isinstance(duration, str):
        return float(duration)
    number = duration.rstrip("abcdefghijklmnopqrstuvwxyz")
    unit = duration[len(number) :] or "s"
    try:
        return float(number) * _UNITS_S[unit]
    except (ValueError, KeyError):
        return None
