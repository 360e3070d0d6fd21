"""Which containers have to be removed, noted on disk before they are made.

A note outlives the worker, so that its successor knows of a container that was left without having
to ask an engine when there was none.
"""

from pathlib import Path

from shared.ids import AttemptId


def name_of(attempt_id: AttemptId | None) -> str:
    """What an attempt's container is called."""
    return f"drawbar-{attempt_id}"


class Notes:
    """One empty file for each container, by its name."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._in_hand: set[str] = set()

    def add(self, name: str) -> None:
        """The container may exist from now on. OSError: that cannot be noted."""
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        (self._folder / name).touch()
        self._in_hand.add(name)

    def drop(self, name: str) -> None:
        """The container is gone."""
        (self._folder / name).unlink(missing_ok=True)
        self._in_hand.discard(name)

    def leave(self, name: str) -> None:
        """Nobody attends to the container any more, and it may be there still."""
        self._in_hand.discard(name)

    def is_in_hand(self, name: str) -> bool:
        return name in self._in_hand

    def left(self) -> set[str]:
        """Containers that nobody attends to."""
        try:
            return {path.name for path in self._folder.iterdir()} - self._in_hand
        except FileNotFoundError:
            return set()
