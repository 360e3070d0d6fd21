"""The program that matches commands against allowed patterns. It may be killed at any time.

Stdin: {"commands": [text, …], "lists": [[pattern, …], …], "how": "fullmatch" or "search"}. Exit
status 0: each command matches one pattern of each list. A search does not tell upper case from
lower.
"""

import json
import re
import signal
import sys
from typing import Final

MATCHING_S: Final = 10
TOO_LONG: Final = int(signal.SIGALRM)  # by which it then ends
BAD_PATTERN: Final = 2
FIRST_UNMATCHED: Final = 10  # + list * commands + command
LAST_STATUS: Final = 255


def main() -> int:
    """The exit status."""
    signal.alarm(MATCHING_S)
    plan = json.load(sys.stdin.buffer)
    how = plan["how"]
    flags = re.DOTALL | (re.IGNORECASE if how == "search" else 0)
    for at, patterns in enumerate(plan["lists"]):
        try:
            compiled = [re.compile(pattern, flags) for pattern in patterns]
        except (re.error, OverflowError, RecursionError):
            return BAD_PATTERN
        for which, command in enumerate(plan["commands"]):
            if not any(getattr(pattern, how)(command) for pattern in compiled):
                return min(LAST_STATUS, FIRST_UNMATCHED + at * len(plan["commands"]) + which)
    return 0


if __name__ == "__main__":
    sys.exit(main())
