"""Why a notification did not go out. Its own: nobody but the postman meets it."""

import os


class NotSent(Exception):
    """In words that people may see: no secret, no URL. `is_final`: another try will not help."""

    def __init__(self, why: str, *, is_final: bool = False) -> None:
        self.why = why
        self.is_final = is_final
        super().__init__(why)


def connect_problem(error: OSError) -> str:
    """`connection refused`, say: asyncio's own words are for programmers."""
    return os.strerror(error.errno).lower() if error.errno else "it cannot be connected to"
