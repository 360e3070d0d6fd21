"""What is wrong with a document of faults, in words."""

from pydantic import ValidationError


def told(error: ValidationError) -> str:
    """Every mistake with its place, in one line."""
    return "; ".join(
        f"{'.'.join(map(str, mistake['loc']))}: {mistake['msg'].removeprefix('Value error, ')}"
        for mistake in error.errors()
    )
