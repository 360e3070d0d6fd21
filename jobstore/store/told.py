"""What comes from outside to jobs that wait: a message to a callback, a person's answer."""

import hashlib
import hmac
import json
from typing import Final

from pydantic import JsonValue

from jobstore.store.defer import Fired, wake_up
from jobstore.store.journal import from_us
from jobstore.store.reads import find_job
from jobstore.store.work import Work
from jobstore.triggers.form import event_of
from jobstore.triggers.kinds import Question
from shared.errors import Conflict, TooLarge, UnknownCallback
from shared.protocol.questions import AnswerRequest

MOST_CALLBACKS: Final = 100  # of one job
_NOBODY: Final = bytes(32)  # whose secret's hash that would be, nobody knows


def open_callback(work: Work, seq: int, secret: str) -> str:
    """The id of a new callback of that job."""
    (count,) = work.conn.execute(
        "SELECT count(*) FROM callback WHERE job_seq = ?", (seq,)
    ).fetchone()
    if count >= MOST_CALLBACKS:
        raise TooLarge(f"a job may ask for {MOST_CALLBACKS} callbacks")
    callback_id = work.tx.new_id()
    work.conn.execute(
        "INSERT INTO callback (id, job_seq, secret_hash) VALUES (?, ?, ?)",
        (callback_id, seq, _hash(secret)),
    )
    return callback_id


def post_callback(work: Work, callback_id: str, secret: str, event: JsonValue) -> None:
    """The message is kept, and whoever waits for it goes on. The same again changes nothing.

    UnknownCallback: no such id, or another secret. Conflict: another message came before.
    """
    row = work.conn.execute(
        "SELECT job_seq, secret_hash, event FROM callback WHERE id = ?", (callback_id,)
    ).fetchone()
    seq, secret_hash, came = row or (None, _NOBODY, None)
    # Compared also when there is none: an answer takes as long, whatever is wrong.
    if not hmac.compare_digest(_hash(secret), secret_hash) or seq is None:
        raise UnknownCallback
    text = json.dumps(event, ensure_ascii=False)
    if came is not None:
        if came != text:
            raise Conflict("something else was posted here before", state="used")
        return
    work.conn.execute(
        "UPDATE callback SET event = ?, posted_at = ? WHERE id = ? AND event IS NULL",
        (text, work.tx.now_us, callback_id),
    )
    waits = work.conn.execute(
        "SELECT fence FROM deferral WHERE job_seq = ? AND kind = 'callback'"
        " AND params ->> 'callback_id' = ?",
        (seq, callback_id),
    ).fetchone()
    if waits is not None:  # else it will find the message when it begins to wait
        wake_up(work, Fired(seq, waits[0], event))


def answer_question(work: Work, ask: AnswerRequest) -> None:
    """The task goes on with the answer. The same again changes nothing.

    BadRequest: it does not fit the question. Conflict: nothing is asked.
    """
    seq = find_job(work.conn, ask.run_id, ask.job_id)
    row = work.conn.execute(
        "SELECT fence, params FROM deferral WHERE job_seq = ? AND kind = 'question'", (seq,)
    ).fetchone()
    said = ask.model_dump_json(include={"by", "choice", "values"})
    digest = hashlib.sha256(said.encode("utf-8", "surrogatepass")).hexdigest()[:16]
    if row is None:
        if _last_answer(work, ask) == digest:
            return
        (status,) = work.conn.execute("SELECT status FROM job WHERE seq = ?", (seq,)).fetchone()
        raise Conflict(
            f"job {ask.job_id!r} does not wait for an answer: it is {status}", state=status
        )
    question = Question.model_validate({**json.loads(row[1]), "kind": "question"})
    event = event_of(question, ask, from_us(work.tx.now_us))
    work.record("job.answered", ask.run_id, ask.job_id, job_seq=seq, by=ask.by, digest=digest)
    wake_up(work, Fired(seq, row[0], event))


def _last_answer(work: Work, ask: AnswerRequest) -> str | None:
    row = work.conn.execute(
        "SELECT facts ->> 'digest' FROM event WHERE run_id = ? AND job_id = ?"
        " AND kind = 'job.answered' ORDER BY seq DESC LIMIT 1",
        (ask.run_id, ask.job_id),
    ).fetchone()
    return None if row is None else str(row[0])


def _hash(secret: str) -> bytes:
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).digest()
