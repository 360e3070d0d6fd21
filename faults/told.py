"""What is wrong with a document of faults, in words."""

from collections.abc import Sequence

from pydantic import ValidationError

Place = tuple[int | str, ...]


def told(error: ValidationError) -> str:
    """Every mistake with its place, in one line."""
    mistakes = error.errors()
    return "; ".join(
        f"{'.'.join(map(str, mistake['loc']))}: {mistake['msg'].removeprefix('Value error, ')}"
        for mistake in mistakes
        if not _follows(mistake["loc"], [other["loc"] for other in mistakes])
    )


def _follows(place: Place, places: Sequence[Place]) -> bool:
    """Whether a list or mapping is wrong only because something in it is."""
    return any(len(other) > len(place) and other[: len(place)] == place for other in places)
