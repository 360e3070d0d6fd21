"""Why a notification did not go out. Its own: nobody but the postman meets it."""


class NotSent(Exception):
    """In words that people may see: no secret, no URL. `is_final`: another try will not help."""

    def __init__(self, why: str, *, is_final: bool = False) -> None:
        self.why = why
        self.is_final = is_final
        super().__init__(why)
