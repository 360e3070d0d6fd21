"""What the services of `drawbar run` log goes beside their data, not between the progress."""

import sys
from pathlib import Path
from typing import Final

import structlog

from drawbar.cli.failures import is_debugging

WARNING: Final = 30
DEBUG: Final = 10


def log_beside(data: Path) -> None:
    """Warnings and errors of this process are in `run.log`; with DRAWBAR_DEBUG all is on stderr."""
    if is_debugging():
        level, out = DEBUG, sys.stderr
    else:
        level, out = WARNING, (data / "run.log").open("w", encoding="utf-8")
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.processors.LogfmtRenderer(
                key_order=["timestamp", "level", "event"], bool_as_flag=False
            ),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.WriteLoggerFactory(file=out),
    )
