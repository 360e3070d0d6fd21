"""Options for when a worker takes no jobs for its own sake; and `worker --check`."""

import asyncio
import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from drawbar.cli.failures import Usage

if TYPE_CHECKING:
    from worker.settings import HealthLimits, WorkerSettings

PANEL: Final = "When it takes no jobs"

MinDisk = Annotated[
    str,
    typer.Option(
        "--min-disk",
        metavar="SIZE",
        envvar="DRAWBAR_MIN_DISK",
        help="Less than this is free where its data directory is.",
        rich_help_panel=PANEL,
    ),
]
MinMemory = Annotated[
    str,
    typer.Option(
        "--min-memory",
        metavar="SIZE",
        envvar="DRAWBAR_MIN_MEMORY",
        help="Less memory than this is left on the machine.",
        rich_help_panel=PANEL,
    ),
]
MaxSkew = Annotated[
    float,
    typer.Option(
        "--max-skew",
        metavar="SECONDS",
        envvar="DRAWBAR_MAX_SKEW",
        min=1,
        help="Its clock and the gateway's are further apart.",
        rich_help_panel=PANEL,
    ),
]
CheckOnly = Annotated[
    bool,
    typer.Option("--check", help="Look at everything that it needs, say what is wrong, and exit."),
]

_SIZE: Final = re.compile(r"(\d{1,15})([kmgt]?)(?:i?b)?", re.IGNORECASE | re.ASCII)
_POWERS: Final = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4}


def health_limits(min_disk: str, min_memory: str, max_skew_s: float) -> "HealthLimits":
    """Usage: one of the sizes is none."""
    from worker.settings import HealthLimits

    return HealthLimits(
        min_disk_bytes=size_bytes("--min-disk", min_disk),
        min_memory_bytes=size_bytes("--min-memory", min_memory),
        max_skew_s=max_skew_s,
    )


def size_bytes(option: str, text: str) -> int:
    """Bytes of `512M`, `2G`, `1024`; powers of 1,024."""
    found = _SIZE.fullmatch(text.strip())
    if found is None:
        raise Usage(f"{option} takes a size like 512M or 2G; found {text!r}")
    return int(found[1]) << 10 * _POWERS[found[2].lower()]


def check_worker(
    settings: "WorkerSettings", place: Path, gateway_url: str, registry_url: str, secret: str
) -> int:
    """What was found is on stdout; the exit code is 1 when something would keep it from jobs."""
    from drawbar.cli.render.console import console
    from drawbar.cli.render.workers import findings_table
    from shared.runtime import SystemRuntime
    from worker.preflight import preflight

    found = asyncio.run(
        preflight(
            settings,
            data=place / "workers",
            gateway_url=gateway_url,
            registry_url=registry_url,
            enrolment_secret=secret,
            runtime=SystemRuntime(),
        )
    )
    console().print(findings_table(found))
    return 0 if all(finding.is_good for finding in found) else 1
