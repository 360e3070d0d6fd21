"""Telling people of the end of a run while `drawbar run` lasts, and a little longer."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final, TextIO

from drawbar.cli.notifications import Telling
from drawbar.cli.render.words import count, one_line
from jobstore.service import JobStoreService
from shared.ids import RunId
from shared.protocol.notifications import NotificationView
from shared.protocol.pipeline import PipelineSpec
from shared.runtime import Runtime

WITHIN_S: Final = 10.0  # for messages about this run
LEFT_BEHIND_S: Final = 2.0  # where there are only those that earlier runs left behind


class Teller:
    """Sends what is due; nothing, where there is nothing to be sent."""

    async def finish(self, run_id: RunId, stream: TextIO) -> None:
        """What is due about the run was tried, and what became of it was said."""


@asynccontextmanager
async def telling(
    jobs: JobStoreService, pipeline: PipelineSpec, given: Telling, place: Path, runtime: Runtime
) -> AsyncIterator[Teller]:
    """While this lasts, messages go out: also those that an earlier run left behind."""
    if pipeline.notify is None and not await jobs.outbox.has_waiting():
        yield Teller()  # HTTP and mail take a tenth of a second to import
        return
    from jobstore.app import new_postman
    from jobstore.notifications.postman import Postman

    class Sending(Teller):
        def __init__(self, postman: Postman) -> None:
            self._postman = postman

        async def finish(self, run_id: RunId, stream: TextIO) -> None:
            within_s = LEFT_BEHIND_S if pipeline.notify is None else WITHIN_S
            found = await self._postman.attend(run_id, within_s)
            earlier = self._postman.sent - sum(view.status == "sent" for view in found)
            for line in lines_of(found, earlier):
                print(line, file=stream)

    postman = new_postman(jobs, given.settings(place, runtime), runtime)
    await postman.start()
    try:
        yield Sending(postman)
    finally:
        await postman.stop()


def lines_of(found: Sequence[NotificationView], earlier: int) -> list[str]:
    """How many were told, and of each of the others what is in the way."""
    lines = [f"told {count(earlier, 'receiver')} of earlier runs"] if earlier > 0 else []
    if sent := sum(view.status == "sent" for view in found):
        lines.append(f"told {count(sent, 'receiver')} of this run")
    for view in found:
        to = f"{view.kind} to {one_line(view.to)}"
        why = one_line(view.error or "there was no time")
        if view.status == "failed":
            lines.append(f"{to} was not sent: {why}")
        elif view.status == "waiting":
            lines.append(f"{to} waits for the next start of drawbar on this data: {why}")
    return lines
