"""What is said of jobs that ask for a container, before anything of their run is started."""

from typing import Final

from drawbar.cli.failures import say
from drawbar.cli.pipelines import Start
from drawbar.cli.render.words import count, printable

MAX_NAMED: Final = 5


def say_refused(start: Start, *, is_here: bool) -> None:
    """Which jobs will be refused, and how they are run, is on stderr; nothing if none will."""
    asking = [job for job in start.pipeline.jobs if job.image is not None]
    names = [printable(job.id) for job in asking if job.id not in start.skip]
    if not names:
        return
    more = len(names) - MAX_NAMED
    listed = ", ".join(names[:MAX_NAMED]) + (f" and {more} more" if more > 0 else "")
    ask = "asks for an image" if len(names) == 1 else "ask for images"
    then = (
        "will be refused, as nothing here runs containers; to run such jobs on the machine "
        "itself: drawbar run --images ignore"
        if is_here
        else "will be refused by workers that were not started with --images ignore"
    )
    say(f"{count(len(names), 'job')} ({listed}) {ask} and {then}", prefix="note: ")
