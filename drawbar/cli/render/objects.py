"""What `--json` prints. Stable: programs read it."""

import json
from collections.abc import Iterable
from typing import Any

from pydantic import BaseModel

from shared.protocol.jobs import RunView

_JOB = (
    "id",
    "stage",
    "status",
    "exit_code",
    "reason",
    "tries",
    "attempts",
    "started_at",
    "ended_at",
)


def run_object(run: RunView) -> dict[str, Any]:
    """The object of `run --json` and `show --json`."""
    plain = run.model_dump(mode="json")
    top = ("run_id", "name", "status", "exit_code", "started_at", "ended_at", "counts")
    return {
        **{name: plain[name] for name in top},
        "jobs": [{name: job[name] for name in _JOB} for job in plain["jobs"]],
    }


def write_json(value: Any) -> None:
    """One document on stdout, indented, with a line end."""
    print(json.dumps(value, indent=2, ensure_ascii=False))  # noqa: T201  # this is the output


def write_all(models: Iterable[BaseModel]) -> None:
    """A listing: an array of objects."""
    write_json([model.model_dump(mode="json") for model in models])
