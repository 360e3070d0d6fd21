"""What reaches jobs that wait, over HTTP."""

import json

from shared.http import wire
from shared.http.clients.asking import Asking
from shared.ids import RunId
from shared.protocol.base import Message
from shared.protocol.questions import AnswerRequest, PostCallback, QuestionList


class WaitsClient(Asking):
    """`Waits` over HTTP."""

    async def list_questions(self, run_id: RunId | None) -> QuestionList:
        query = "" if run_id is None else f"?run={run_id}"
        return await self._ask("GET", f"/v1/questions{query}", QuestionList)

    async def answer(self, ask: AnswerRequest) -> None:
        """Who answered is whose token this is: `by` does not travel."""
        path = wire.path("v1", "runs", ask.run_id, "jobs", ask.job_id, "answer")
        await self._ask("POST", path, Message, wire.ANSWER.dump(ask))

    async def post_callback(self, ask: PostCallback) -> None:
        path = wire.path("v1", "callbacks", ask.callback_id, ask.secret)
        await self._ask("POST", path, Message, json.dumps(ask.event).encode())
