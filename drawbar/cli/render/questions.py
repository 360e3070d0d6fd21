"""Questions as text, each with the command that answers it. Pure."""

from collections.abc import Iterator
from datetime import datetime

from drawbar.cli.render.words import ago, one_line
from shared.answers import answer_line, field_line
from shared.protocol.questions import QuestionView


def question_lines(question: QuestionView, now: datetime) -> Iterator[str]:
    """The question, what fits, and how to say it."""
    where = f"run {question.run_id}, {one_line(question.job_id)}"
    yield f"{where} ({one_line(question.pipeline)}), {ago(question.asked_at, now)}:"
    yield f"  {one_line(question.question)}"
    for field in question.fields:
        yield f"    {one_line(field_line(field))}"
    if question.until is not None:
        yield f"  until {question.until.astimezone():%Y-%m-%d %H:%M:%S}"
    yield f"  {one_line(answer_line(question))}"
