"""Those outside for whom tasks wait: they post to callbacks and answer questions, some of them.

Like the rest of the people their processes never fail; the network may, so that they say again
what was not acknowledged. Some say everything twice.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import Final

from shared.errors import ServiceError
from shared.http.clients import JobsClient
from shared.ids import JobId, RunId
from shared.protocol.questions import AnswerRequest, PostCallback
from simulation.history import History
from simulation.process import Process

COMES_S: Final = (0.0, 10.0)  # after it was asked for
NEVER: Final = 0.15  # of those who are asked do anything
TWICE: Final = 0.5
CALL_S: Final = 8.0
AGAIN_S: Final = (0.5, 4.0)
GIVES_UP_S: Final = 30.0  # nobody waits for an answer any more


class Callers:
    """One process for all of them."""

    def __init__(self, process: Process, client: JobsClient, history: History) -> None:
        self._process = process
        self._client = client
        self._history = history
        self._chance = random.Random(f"callers-{process.loop.seed}")

    def hear_of_callback(self, url: str) -> None:
        """Somebody was given the URL."""
        callback_id, secret = url.split("/")[-2:]
        ask = PostCallback(callback_id=callback_id, secret=secret, event={"callback": callback_id})
        self._come(lambda: self._client.post_callback(ask), "post", callback=callback_id)

    def hear_of_question(self, run_id: RunId, job_id: JobId) -> None:
        """Somebody was told that a question will be there."""
        ask = AnswerRequest(run_id=run_id, job_id=job_id, by="callers", choice="yes")
        self._come(lambda: self._client.answer(ask), "answer", run=run_id, job=job_id)

    def _come(self, call: Callable[[], Awaitable[None]], op: str, **facts: object) -> None:
        if self._chance.random() >= NEVER:
            self._process.spawn(self._say(call, op, **facts), op)

    async def _say(self, call: Callable[[], Awaitable[None]], op: str, **facts: object) -> None:
        """Once or twice, each until it was acknowledged, or nobody wants to hear it."""
        for _ in range(1 if self._chance.random() >= TWICE else 2):
            await asyncio.sleep(self._chance.uniform(*COMES_S))
            gives_up_at = self._process.loop.now + GIVES_UP_S
            while not await self._is_heard(call, op, facts):
                if self._process.loop.now > gives_up_at:
                    return
                await asyncio.sleep(self._chance.uniform(*AGAIN_S))

    async def _is_heard(
        self, call: Callable[[], Awaitable[None]], op: str, facts: dict[str, object]
    ) -> bool:
        invoked = self._history.invoke(op, **facts)
        try:
            async with asyncio.timeout(CALL_S):
                await call()
        except (ServiceError, TimeoutError) as error:
            self._history.fail(invoked, error)
            return False
        self._history.answer(invoked)
        return True
