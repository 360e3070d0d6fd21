"""How a process logs: one line per state change on stderr, for people or for programs.

Nothing is configured at import. Events are `noun.past_verb`, facts are keys; what looks like a
secret by its name or by its form is never written.
"""

import json
import logging
import re
import sys
from collections.abc import Callable, Iterator, MutableMapping
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC
from functools import lru_cache
from typing import Any, Final, TextIO

# structlog takes rich where it is installed, for tracebacks in colour. Those print local variables,
# and secrets are among them; so we never let it, and spare every daemon 5 MiB and 25 ms.
_is_first = "rich" not in sys.modules
if _is_first:
    sys.modules["rich"] = None  # type: ignore[assignment]  # what `import` takes for "not installed"
import structlog  # noqa: E402

if _is_first:
    del sys.modules["rich"]

from shared.runtime import Runtime  # noqa: E402

Facts = MutableMapping[str, Any]
Render = Callable[[Any, str, Facts], str]

SECRET_NAME: Final = re.compile(
    r"token|secret|passw|credential|authorization|api_?key|private", re.IGNORECASE
)
# A JWT (which begins with base64 of '{"'), or whatever follows "Bearer".
SECRET_FORM: Final = re.compile(r"eyJ[\w-]+\.[\w-]+\.[\w-]*|(?<=[Bb]earer )[\w.~+/=-]{8,}")
HIDDEN: Final = "***"
UUID_FORM: Final = re.compile(r"[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}")
UUID_TAIL: Final = 8

_held: ContextVar[list[str] | None] = ContextVar("held", default=None)  # lines not yet written


def configure(
    runtime: Runtime,
    *,
    level: str = "info",
    stream: TextIO | None = None,
    as_json: bool | None = None,
) -> None:
    """Everything that this process logs goes to `stream` (None: stderr), one event a line.

    `as_json` None: for people on a terminal, else JSON. What libraries say through Python's own
    logging comes the same way, as `library.spoke`.
    """
    stream = stream or sys.stderr
    as_json = not stream.isatty() if as_json is None else as_json
    threshold = logging.getLevelNamesMapping()[level.upper()]
    lines = _Lines(stream)
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            _timestamps(runtime) if as_json else _short(runtime),
            hide_secrets,
            structlog.processors.format_exc_info,
            _without_secret_forms(_json() if as_json else _console(stream)),
        ],
        # Filtered calls are empty methods: they cost a call, and nothing is built for them.
        wrapper_class=structlog.make_filtering_bound_logger(threshold),
        logger_factory=lambda *_: lines,
        cache_logger_on_first_use=False,
    )
    logging.basicConfig(
        handlers=[_FromLibraries()], level=max(threshold, logging.WARNING), force=True
    )


@contextmanager
def in_one_write() -> Iterator[None]:
    """What is logged meanwhile is written at its end, at once. No await may be within.

    Each write lets another thread of the process take the interpreter, which then has to be waited
    for: a run of twenty jobs is twenty-one lines.
    """
    lines: list[str] = []
    before = _held.set(lines)
    try:
        yield
    finally:
        _held.reset(before)
        if lines:
            structlog.get_config()["logger_factory"]().msg("\n".join(lines))


def hide_secrets(_: Any, __: str, facts: Facts) -> Facts:
    """Values whose name says that they are secret are not there any more, also one level down."""
    for name, value in facts.items():
        if is_secret(name):
            facts[name] = HIDDEN
        elif isinstance(value, dict):
            facts[name] = {k: HIDDEN if is_secret(str(k)) else v for k, v in value.items()}
    return facts


@lru_cache(maxsize=1_024)
def is_secret(name: str) -> bool:
    """Whether a value of that name is kept out of the log."""
    return SECRET_NAME.search(name) is not None


def _without_secret_forms(render: Render) -> Render:
    """A secret inside a message or a traceback is hidden, too."""

    def hide(logger: Any, method: str, facts: Facts) -> str:
        line = render(logger, method, facts)
        if "eyJ" in line or "earer " in line:
            return SECRET_FORM.sub(HIDDEN, line)
        return line

    return hide


def _timestamps(runtime: Runtime) -> Callable[[Any, str, Facts], Facts]:
    def stamp(_: Any, __: str, facts: Facts) -> Facts:
        now = runtime.now().astimezone(UTC)
        facts["at"] = now.isoformat(timespec="milliseconds").removesuffix("+00:00") + "Z"
        return facts

    return stamp


def _short(runtime: Runtime) -> Callable[[Any, str, Facts], Facts]:
    """For people's lines, which have 80 columns: the time of day, and only facts that tell."""

    def shorten(_: Any, __: str, facts: Facts) -> Facts:
        for name in [name for name, value in facts.items() if value is None]:
            del facts[name]
        for name, value in facts.items():
            if isinstance(value, str) and UUID_FORM.fullmatch(value):
                facts[name] = f"…{value[-UUID_TAIL:]}"  # the end is where they differ
        facts["at"] = f"{runtime.now().astimezone():%H:%M:%S}"
        return facts

    return shorten


def _json() -> Render:
    encode = json.JSONEncoder(default=str).encode

    def ordered(_: Any, __: str, facts: Facts) -> str:
        """When, how bad and what come first, for those who read JSON with their eyes."""
        first = {name: facts.pop(name) for name in ("at", "level", "event")}
        return encode({**first, **facts})

    return ordered


def _console(stream: TextIO) -> Render:
    return structlog.dev.ConsoleRenderer(
        colors=stream.isatty(),
        pad_event_to=20,
        pad_level=False,
        timestamp_key="at",
        # Others print local variables, and secrets are among those.
        exception_formatter=structlog.dev.plain_traceback,
    )


class _Lines:
    """Writes each line at once. A stream that nobody reads any more stops no service."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def msg(self, line: str) -> None:
        held = _held.get()
        if held is not None:
            held.append(line)
            return
        try:
            self._stream.write(line + "\n")
            self._stream.flush()
        except (OSError, ValueError):
            pass  # closed, or a full disk; there is no other place to say so

    debug = info = warning = warn = error = critical = exception = msg


class _FromLibraries(logging.Handler):
    """Hands over what libraries log, without the values that they formatted into it apart."""

    def emit(self, record: logging.LogRecord) -> None:
        log = structlog.get_logger()
        facts: Facts = {"library": record.name, "message": record.getMessage()}
        if record.exc_info:
            facts["exc_info"] = record.exc_info
        log.log(record.levelno, "library.spoke", **facts)
