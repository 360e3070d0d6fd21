"""What is said of jobs that ask for a container, before anything of their run is started."""

import os
from typing import Final

from drawbar.cli.failures import say
from drawbar.cli.pipelines import Start
from drawbar.cli.render.words import count, printable
from drawbar.cli.rules import Rules
from worker.runners.containers.address import find_engine

MAX_NAMED: Final = 5


def say_refused(start: Start, rules: Rules) -> None:
    """Which jobs this machine will refuse, and how they are run, is on stderr; nothing if none."""
    if rules.images == "ignore":
        return
    asking = [job for job in start.pipeline.jobs if job.image is not None]
    names = [printable(job.id) for job in asking if job.id not in start.skip]
    if not names or (rules.images == "run" and find_engine(rules.docker, os.environ) is not None):
        return
    more = len(names) - MAX_NAMED
    listed = ", ".join(names[:MAX_NAMED]) + (f" and {more} more" if more > 0 else "")
    ask = "asks for an image" if len(names) == 1 else "ask for images"
    why = (
        "as --images refuse says"
        if rules.images == "refuse"
        else "as no container engine was found here; --docker names one"
    )
    say(
        f"{count(len(names), 'job')} ({listed}) {ask} and will be refused, {why}; to run such jobs "
        "on the machine itself: drawbar run --images ignore",
        prefix="note: ",
    )
