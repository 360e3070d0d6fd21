"""Durations, moments and sizes as people read them. Pure."""

from datetime import datetime

from shared.words import count as count
from shared.words import duration as duration


def ago(then: datetime, now: datetime) -> str:
    """How long ago `then` was, in its largest unit."""
    seconds = (now - then).total_seconds()
    if seconds < 2:
        return "just now"
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds // size:.0f} {unit} ago"
    return f"{seconds:.0f} s ago"


def span(started: datetime | None, ended: datetime | None, now: datetime) -> str:
    """How long something ran, or has been running; empty when it never started."""
    if started is None:
        return ""
    return duration(((ended or now) - started).total_seconds())


def size(size_bytes: int) -> str:
    """`812 B`, `4.2 KiB`, `1.0 MiB`."""
    value = float(size_bytes)
    for unit in ("B", "KiB", "MiB"):
        if value < 1_000:
            return f"{value:.0f} B" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1_024
    return f"{value:.1f} GiB"


def printable(text: str) -> str:
    """`text` with control characters made visible, so that a job cannot play with a terminal."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in text)


def one_line(text: str) -> str:
    """The same, without white space around it."""
    return printable(text.strip())
