"""What a person sees when something does not work: one clear line, an exit code, no traceback."""

import os
import sys
from collections.abc import Iterator

from drawbar.cli.failures import FAILED, INTERRUPTED, USAGE, Interrupted, Usage, is_debugging, say
from drawbar.document.mistakes import BadDocument
from shared.errors import BadPipeline, Forbidden, ServiceError, Unauthenticated


def describe(error: BaseException) -> int:
    """The error is on stderr, in words; returns the exit code that goes with it."""
    found = list(_leaves(error))
    first = min(found, key=_rank)
    if isinstance(first, BrokenPipeError):
        _swallow_stdout()
        return FAILED
    if isinstance(first, KeyboardInterrupt):
        return INTERRUPTED
    if isinstance(first, Interrupted):
        say(str(first))
        return INTERRUPTED
    if isinstance(first, BadDocument):
        say(first.format_mistakes(), prefix="")
        return USAGE
    if isinstance(first, Usage):
        say(str(first))
        return USAGE
    if isinstance(first, ServiceError):
        say(_in_words(first))
        return USAGE if isinstance(first, BadPipeline) else FAILED
    _unexpected(first)
    return FAILED


def _leaves(error: BaseException) -> Iterator[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            yield from _leaves(inner)
    else:
        yield error


def _rank(error: BaseException) -> int:
    """Of several failures at once, the one that explains most comes first."""
    if isinstance(error, KeyboardInterrupt | Interrupted):
        return 0
    return 1 if isinstance(error, ServiceError | BadDocument | Usage) else 2


def _in_words(error: ServiceError) -> str:
    mistakes = error.facts.get("mistakes")
    text = error.message
    if isinstance(error, BadPipeline) and mistakes:
        text += "".join(f"\n  {mistake}" for mistake in mistakes)
    if isinstance(error, Unauthenticated):
        text += ": set DRAWBAR_TOKEN (an operator makes one with 'drawbar token'), or DRAWBAR_DATA"
    elif isinstance(error, Forbidden):
        text += ": ask an operator for a token that may ('drawbar token --role …')"
    return text


def _unexpected(error: BaseException) -> None:
    if is_debugging():
        import traceback

        traceback.print_exception(error)
    what = f"{type(error).__name__}: {error}".splitlines()[0]
    hint = "" if is_debugging() else "; DRAWBAR_DEBUG=1 shows where"
    say(f"something broke inside drawbar ({what}){hint}")


def _swallow_stdout() -> None:
    """Nobody reads stdout any more; Python's own flush at exit must not complain."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
