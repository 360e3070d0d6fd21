"""What documents mean where they say nothing: it depends on where their field names come from."""

from dataclasses import dataclass
from typing import Final

from drawbar.document.nodes import Mapping
from shared.protocol.pipeline import OnError, RetryOn, RetryRule


@dataclass(frozen=True, slots=True)
class Defaults:
    on_error: OnError
    is_parallel: bool
    retry: RetryRule  # its numbers matter only to jobs that are tried again


# Ours, and the staged YAML's.
OURS: Final = Defaults(on_error=OnError.CONTINUE, is_parallel=True, retry=RetryRule())
EXECUTIONER: Final = Defaults(
    on_error=OnError.STOP,
    is_parallel=False,
    retry=RetryRule(
        delay_s=30.0,
        backoff=1.5,
        jitter=0.1,
        max_time_s=1_800.0,
        on=(RetryOn.FAILED, RetryOn.TIMEOUT),
        on_exit_codes=(1,),
    ),
)


def defaults_of(root: Mapping) -> Defaults:
    """The Executioner's, when the document names its pipeline as those do."""
    if any(key.text == "application_name" for key, _ in root.pairs):
        return EXECUTIONER
    return OURS
