"""Secrets taken out of text and of streams of bytes, wherever a piece of the stream ends."""

import json
from collections.abc import Iterable, Iterator
from typing import Final
from urllib.parse import quote

MASK: Final = b"***"
SHORTEST: Final = 4  # characters: to mask less would leave nothing of the log to read
LONGEST: Final = 20_000  # bytes that are held back at most, to see whether a secret goes on
MOST: Final = 1_000  # secrets of one task


class TooManySecrets(Exception):
    """A task may read so many secrets, and no more: none of them would be masked surely."""


class Masker:
    """Replaces every secret that it knows. What was fed before one was added stays as it is.

    Each secret is searched for by itself, in C: a pattern of all of them would take seconds to make
    where they are long, while the worker's other jobs wait for their heartbeats.
    """

    def __init__(self) -> None:
        self._secrets: dict[bytes, None] = {}
        self._held = b""

    def add(self, values: Iterable[str]) -> None:
        """None of these is let through from now on, nor as JSON, a URL or Python write them.

        TooManySecrets: … and none of these was added.
        """
        forms = {form: None for value in values for form in _forms(value)}
        known = self._secrets | forms
        if len(known) > MOST:
            raise TooManySecrets(f"a task may read {MOST} secrets")
        self._secrets = known

    def feed(self, piece: bytes) -> bytes:
        """What of the stream can be shown; the beginning of a secret at its end is held back."""
        text = self._held + piece
        shown, done = self.split(text)
        self._held = text[done:]
        return shown

    def split(self, text: bytes, *, is_end: bool = False) -> tuple[bytes, int]:
        """What can be shown of a stream's next bytes, and how many of them that is.

        Unless the stream ends with them, the beginning of a secret at their end is kept for later.
        """
        if not self._secrets:
            return text, len(text)
        end = len(text) if is_end else self._beginning_at_the_end(text)
        shown = []
        done = 0
        for start, stop in self._found(text):
            if start >= end:
                break
            if stop > end and len(text) - start <= LONGEST:
                end = start  # another secret may begin within it, and hides with it or not at all
                break
            shown += [text[done:start], MASK]
            done = stop
            end = max(end, done)
        shown.append(text[done:end])
        return b"".join(shown), end

    def flush(self) -> bytes:
        """What was held back, as the stream has ended."""
        held, self._held = self._held, b""
        return self.split(held, is_end=True)[0]

    def outside(self, text: bytes, place: int) -> int:
        """The first place from `place` on that is not within a secret."""
        for start, stop in self._found(text):
            if start < place < stop:
                return stop
        return place

    def mask_text(self, text: str) -> str:
        masked, _ = self.split(text.encode("utf-8", "surrogatepass"), is_end=True)
        return masked.decode("utf-8", "surrogatepass")

    def _found(self, text: bytes) -> list[tuple[int, int]]:
        """Where secrets are, in order; those that overlap as one."""
        places = [
            (at, at + len(secret)) for secret in self._secrets for at in _all_places(text, secret)
        ]
        found: list[tuple[int, int]] = []
        for start, stop in sorted(places):
            if found and start < found[-1][1]:
                found[-1] = (found[-1][0], max(stop, found[-1][1]))
            else:
                found.append((start, stop))
        return found

    def _beginning_at_the_end(self, text: bytes) -> int:
        """From where on `text` may be the beginning of a secret; its length, if nowhere."""
        return min((_beginning(text, secret) for secret in self._secrets), default=len(text))


def _all_places(text: bytes, secret: bytes) -> Iterator[int]:
    """Also where it overlaps itself."""
    at = text.find(secret)
    while at >= 0:
        yield at
        at = text.find(secret, at + 1)


def _beginning(text: bytes, secret: bytes) -> int:
    """The first place from which on `text` is the beginning of the secret; its length if none."""
    at = text.find(secret[:SHORTEST], max(0, len(text) - len(secret) + 1))
    while at >= 0:
        if secret.startswith(text[at:]):
            return at
        at = text.find(secret[:SHORTEST], at + 1)
    for size in range(min(SHORTEST, len(text) + 1) - 1, 0, -1):
        if text.endswith(secret[:size]):
            return len(text) - size
    return len(text)


def _forms(value: str) -> Iterable[bytes]:
    """A secret, each of its lines, and how they look inside of JSON, a URL or repr()."""
    lines = value.split("\n") if "\n" in value else []
    for text in (value, *(line.strip() for line in lines)):
        for form in (text, json.dumps(text)[1:-1], quote(text, safe=""), repr(text)[1:-1]):
            if len(form) >= SHORTEST:
                yield form.encode("utf-8", "surrogatepass")[:LONGEST]
