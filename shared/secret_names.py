"""Which names tell that what they stand for is a secret, though nobody said so."""

import re
from typing import Any, Final

HIDDEN: Final = "***"

_TELLING: Final = re.compile(
    r"(?i)pass(word|wd|phrase)?$|secret|token|api_?key|private_?key|credential|authorization"
)


def is_secret_name(name: str) -> bool:
    """Whether what is called that is a secret."""
    return _TELLING.search(name) is not None


def without_secrets(value: Any, *, is_secret: bool = False) -> Any:
    """The same JSON value, with each text that stands below such a name hidden."""
    match value:
        case str():
            return HIDDEN if is_secret else value
        case dict():
            return {
                name: without_secrets(inner, is_secret=is_secret or is_secret_name(name))
                for name, inner in value.items()
            }
        case list():
            return [without_secrets(inner, is_secret=is_secret) for inner in value]
        case _:
            return value
