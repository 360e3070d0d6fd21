"""NAME=VALUE, as options take it."""

from collections.abc import Sequence

from drawbar.cli.failures import Usage


def parse_pairs(option: str, pairs: Sequence[str]) -> dict[str, str]:
    """NAME=VALUE, each; a later one wins over an earlier one of the same name."""
    found: dict[str, str] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals or not name:
            raise Usage(f"{option} takes NAME=VALUE, found {pair!r}")
        found[name] = value
    return found
