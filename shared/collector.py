"""How seldom Python searches for cycles here, of which services make next to none."""

import gc
from typing import Final

# New objects between two searches. By default 700: a service that handles a thousand calls a
# second would spend a twelfth of its time on them.
COLLECT_AFTER: Final = 10_000


def collect_seldom() -> None:
    """From now on, in this process."""
    gc.set_threshold(COLLECT_AFTER)


def spare_the_collector() -> None:
    """What there is by now stays for good, and is not looked at again: every full collection
    would hold up all that is served for 65 ms to find nothing."""
    gc.collect()
    gc.freeze()
