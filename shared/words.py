"""Numbers as people read them, in the terminal and in reports. Pure."""


def duration(seconds: float) -> str:
    """`7 ms`, `0.3 s`, `12.0 s`, `2 m 05 s`, `3 h 20 m`, `4 d 02 h`: two units at most."""
    if seconds < 0.0995:
        return f"{max(seconds, 0.0) * 1_000:.0f} ms"
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 3_600:
        return f"{whole // 60} m {whole % 60:02} s"
    if whole < 86_400:
        return f"{whole // 3_600} h {whole % 3_600 // 60:02} m"
    return f"{whole // 86_400} d {whole % 86_400 // 3_600:02} h"


def count(number: int, noun: str) -> str:
    """`1 job`, `3 jobs`."""
    return f"{number:,} {noun}" + ("" if number == 1 else "s")
