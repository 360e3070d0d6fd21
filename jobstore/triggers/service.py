"""`Waits`, and the callbacks that tasks ask for."""

import json
import sqlite3
from functools import partial
from typing import Final, Protocol

from jobstore.store.journal import from_us
from jobstore.triggers.kinds import Question, question_view
from jobstore.triggers.ports import Outside
from shared.errors import Conflict
from shared.ids import RunId
from shared.protocol import execution as e
from shared.protocol.questions import AnswerRequest, PostCallback, QuestionList, QuestionView
from shared.runtime import Runtime
from shared.sqlite import Database

MOST_LISTED: Final = 1_000


class Store(Protocol):
    """What is written of it."""

    async def answer_question(self, ask: AnswerRequest) -> None: ...

    async def post_callback(self, ask: PostCallback) -> None: ...

    async def open_callback(self, job_seq: int, secret: str) -> str: ...


class WaitService:
    """On the tables beside those of the jobs."""

    def __init__(
        self, store: Store, database: Database, outside: Outside, runtime: Runtime
    ) -> None:
        self._store = store
        self._db = database
        self._outside = outside
        self._runtime = runtime

    async def list_questions(self, run_id: RunId | None) -> QuestionList:
        questions = await self._db.read(partial(_questions, run_id=run_id))
        return QuestionList(questions=tuple(questions))

    async def answer(self, ask: AnswerRequest) -> None:
        await self._store.answer_question(ask)

    async def post_callback(self, ask: PostCallback) -> None:
        await self._store.post_callback(ask)

    async def new_callback(self, job_seq: int) -> e.Callback:
        """Of that job. Conflict: nothing listens here that could be reached."""
        if self._outside.doorstep is None:
            raise Conflict("nobody can post to this job service: it does not listen", state="mute")
        doorstep = await self._outside.doorstep()
        secret = self._runtime.new_secret()
        callback_id = await self._store.open_callback(job_seq, secret)
        url = f"{doorstep.rstrip('/')}/v1/callbacks/{callback_id}/{secret}"
        return e.Callback(callback_id=callback_id, url=url)


def _questions(conn: sqlite3.Connection, run_id: int | None) -> list[QuestionView]:
    rows = conn.execute(
        "SELECT job.run_id, job.id, run.name, deferral.params, deferral.since, deferral.timeout_s"
        " FROM deferral JOIN job ON job.seq = deferral.job_seq JOIN run ON run.id = job.run_id"
        " WHERE deferral.kind = 'question' AND (?1 IS NULL OR job.run_id = ?1)"
        " ORDER BY deferral.since, job.seq LIMIT ?2",
        (run_id, MOST_LISTED),
    ).fetchall()
    views = []
    for run, job, pipeline, params, since, timeout_s in rows:
        asked = Question.model_validate({**json.loads(params), "kind": "question"})
        views.append(question_view(run, job, pipeline, asked, from_us(since), timeout_s))
    return views
