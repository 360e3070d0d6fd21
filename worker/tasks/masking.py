"""Secrets taken out of text and of streams of bytes, wherever a piece of the stream ends."""

import json
import re
from collections.abc import Iterable
from typing import Final
from urllib.parse import quote

MASK: Final = b"***"
SHORTEST: Final = 4  # characters: to mask less would leave nothing of the log to read
LONGEST: Final = 20_000  # bytes that are held back at most, to see whether a secret goes on
MOST: Final = 1_000  # secrets of one task


class TooManySecrets(Exception):
    """A task may read so many secrets, and no more: none of them would be masked surely."""


class Masker:
    """Replaces every secret that it knows. What was fed before one was added stays as it is."""

    def __init__(self) -> None:
        self._secrets: dict[bytes, None] = {}
        self._pattern: re.Pattern[bytes] | None = None
        self._first = b""
        self._longest = 0
        self._held = b""

    def add(self, values: Iterable[str]) -> None:
        """None of these is let through from now on, nor as JSON, a URL or Python write them.

        TooManySecrets: … and none of these was added.
        """
        forms = {form: None for value in values for form in _forms(value)}
        if len(self._secrets) + len(forms) > MOST:
            raise TooManySecrets(f"a task may read {MOST} secrets")
        if not forms.keys() - self._secrets.keys():
            return
        self._secrets |= forms
        longest_first = sorted(self._secrets, key=len, reverse=True)
        self._pattern = re.compile(b"|".join(re.escape(form) for form in longest_first))
        self._first = bytes({form[0] for form in self._secrets})
        self._longest = len(longest_first[0])

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
        if self._pattern is None:
            return text, len(text)
        end = len(text) if is_end else self._beginning_at_the_end(text)
        if not any(secret in text for secret in self._secrets):  # ten times as fast as the pattern
            return text[:end], end
        shown = []
        done = 0
        for found in self._pattern.finditer(text):
            if found.start() >= end:
                break
            shown += [text[done : found.start()], MASK]
            done = found.end()
            end = max(end, done)
        shown.append(text[done:end])
        return b"".join(shown), end

    def flush(self) -> bytes:
        """What was held back, as the stream has ended."""
        held, self._held = self._held, b""
        return self.split(held, is_end=True)[0]

    def outside(self, text: bytes, place: int) -> int:
        """The first place from `place` on that is not within a secret."""
        if self._pattern is not None:
            for found in self._pattern.finditer(text):
                if found.start() < place < found.end():
                    return found.end()
        return place

    def mask_text(self, text: str) -> str:
        if self._pattern is None:
            return text
        masked = self._pattern.sub(MASK, text.encode("utf-8", "surrogatepass"))
        return masked.decode("utf-8", "surrogatepass")

    def _beginning_at_the_end(self, text: bytes) -> int:
        """From where on `text` may be the beginning of a secret; its length, if nowhere."""
        for place in range(max(0, len(text) - self._longest + 1), len(text)):
            if text[place] in self._first and any(
                secret.startswith(text[place:]) for secret in self._secrets
            ):
                return place
        return len(text)


def _forms(value: str) -> Iterable[bytes]:
    """A secret, each of its lines, and how they look inside of JSON, a URL or repr()."""
    lines = value.split("\n") if "\n" in value else []
    for text in (value, *(line.strip() for line in lines)):
        for form in (text, json.dumps(text)[1:-1], quote(text, safe=""), repr(text)[1:-1]):
            if len(form) >= SHORTEST:
                yield form.encode("utf-8", "surrogatepass")[:LONGEST]
