"""Parameters of the shipped checks: declared once each, read with every mistake named at once."""

import re
from collections.abc import Callable, Collection, Mapping
from typing import Any, Final, NamedTuple

REQUIRED: Final = object()
UNITS_S: Final = {"": 1.0, "s": 1.0, "m": 60.0, "h": 3_600.0, "d": 86_400.0}
UNITS_BYTES: Final = {"": 1, "b": 1, "k": 2**10, "m": 2**20, "g": 2**30, "t": 2**40}
DEFAULT_TIMEOUT_S: Final = 60.0
TIMEOUT: Final = "timeout"  # every check has it, own ones as well


class BadParams(ValueError):
    """What is wrong with the parameters of a check, all of it."""


class Param(NamedTuple):
    """How to read one parameter (ValueError: it is not such), and its value when not given."""

    read: Callable[[Any], Any]
    default: Any = REQUIRED


def read_params(declared: Mapping[str, Param], given: Mapping[str, Any]) -> dict[str, Any]:
    """Every declared parameter with a value of the right type. BadParams."""
    problems = [
        f"unknown parameter {name!r}{nearest(name, declared)}"
        for name in given
        if name not in declared
    ]
    found: dict[str, Any] = {}
    for name, param in declared.items():
        if name not in given:
            found[name] = param.default
            if param.default is REQUIRED:
                problems.append(f"parameter {name!r} is missing")
            continue
        try:
            found[name] = param.read(given[name])
        except ValueError as error:
            problems.append(f"parameter {name!r} {error}")
    if problems:
        raise BadParams("; ".join(problems))
    return found


def take_timeout(given: Mapping[str, Any]) -> tuple[float, dict[str, Any]]:
    """How long a check may take, and its other parameters. BadParams."""
    rest = dict(given)
    try:
        timeout_s = seconds(rest.pop(TIMEOUT, DEFAULT_TIMEOUT_S))
    except ValueError as error:
        raise BadParams(f"parameter {TIMEOUT!r} {error}") from None
    if timeout_s <= 0:
        raise BadParams(f"parameter {TIMEOUT!r} must be more than 0")
    return timeout_s, rest


def nearest(word: str, known: Collection[str]) -> str:
    """A hint at the known word that was probably meant, or else at all of them."""
    import difflib

    close = difflib.get_close_matches(word, sorted(known), n=1, cutoff=0.6)
    if close:
        return f"; did you mean {close[0]!r}?"
    return f"; known: {', '.join(sorted(known))}" if known else ""


# -- kinds of values -------------------------------------------------------------------------


def text(value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise ValueError(f"must be a text, found {_shown(value)}")
    if "\0" in value:
        raise ValueError("must not have a NUL character in it")
    return value


def texts(value: Any) -> list[str]:
    """One text, or several."""
    if isinstance(value, list) and value:
        return [text(entry) for entry in value]
    try:
        return [text(value)]
    except ValueError:
        raise ValueError(f"must be a text or a list of texts, found {_shown(value)}") from None


def command(value: Any) -> str | list[str]:
    """A line for the shell, or exact words."""
    return texts(value) if isinstance(value, list) else text(value)


def flag(value: Any) -> bool:
    if isinstance(value, str) and value.lower() in ("true", "false"):
        return value.lower() == "true"
    if not isinstance(value, bool):
        raise ValueError(f"must be true or false, found {_shown(value)}")
    return value


def integer(value: Any) -> int:
    if isinstance(value, str) and re.fullmatch(r"-?[0-9]{1,18}", value):
        return int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError(f"must be a whole number, found {_shown(value)}")
    return value


def integers(value: Any) -> list[int]:
    """One whole number, or several."""
    return [integer(entry) for entry in value] if isinstance(value, list) else [integer(value)]


def port(value: Any) -> int:
    number = integer(value)
    if not 1 <= number <= 65_535:
        raise ValueError(f"must be between 1 and 65535, found {number}")
    return number


def seconds(value: Any) -> float:
    """A number of seconds, or such as 90s, 30m, 2h, 1d."""
    try:
        return _scaled(value, UNITS_S)
    except ValueError:
        raise ValueError(f"must be seconds, or such as '30m', found {_shown(value)}") from None


def size(value: Any) -> float:
    """Bytes, or such as 500M, 10G."""
    try:
        return _scaled(value, UNITS_BYTES)
    except ValueError:
        raise ValueError(f"must be bytes, or such as '10G', found {_shown(value)}") from None


def size_or_share(value: Any) -> tuple[float, bool]:
    """As `size`, or a share of the whole such as 5%; whether it is one."""
    if isinstance(value, str) and value.strip().endswith("%"):
        try:
            share = float(value.strip()[:-1])
        except ValueError:
            share = -1.0
        if not 0 <= share <= 100:
            raise ValueError(f"must be a share between 0% and 100%, found {_shown(value)}")
        return share / 100, True
    return size(value), False


def one_of(*words: str) -> Callable[[Any], str]:
    def read(value: Any) -> str:
        if value not in words:
            raise ValueError(f"must be {' or '.join(words)}, found {_shown(value)}")
        return str(value)

    return read


def pattern(value: Any) -> str:
    """A regular expression of Python's `re`. It is compiled where it is used."""
    return text(value)


def _scaled(value: Any, units: Mapping[str, float]) -> float:
    if isinstance(value, str):
        found = re.fullmatch(r"([0-9]{1,15}(?:\.[0-9]{1,9})?)\s*([a-z]?)(?:i?b)?", value.lower())
        if found is None or found[2] not in units:
            raise ValueError
        return float(found[1]) * units[found[2]]
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1e18:
        raise ValueError
    return float(value)


def _shown(value: Any) -> str:
    shown = repr(value)
    return shown if len(shown) <= 60 else f"{shown[:57]}..."
