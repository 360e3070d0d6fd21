"""Questions as text, each with the command that answers it. Pure."""

import shlex
from collections.abc import Iterator
from datetime import datetime

from drawbar.cli.render.words import ago, one_line
from shared.protocol.questions import FieldKind, FormField, QuestionView


def question_lines(question: QuestionView, now: datetime) -> Iterator[str]:
    """The question, what fits, and how to say it."""
    where = f"run {question.run_id}, {one_line(question.job_id)}"
    yield f"{where} ({one_line(question.pipeline)}), {ago(question.asked_at, now)}:"
    yield f"  {one_line(question.question)}"
    for field in question.fields:
        yield f"    {_field(field)}"
    if question.until is not None:
        yield f"  until {question.until.astimezone():%Y-%m-%d %H:%M:%S}"
    yield f"  {answer_line(question)}"


def answer_line(question: QuestionView) -> str:
    """The command, with what is to be filled in in capital letters."""
    words = ["drawbar", "answer", str(question.run_id), question.job_id]
    line = shlex.join(words)
    if question.choices:
        line += " " + "|".join(shlex.quote(choice) for choice in question.choices)
    for field in question.fields:
        given = f"--set {shlex.quote(field.name)}=VALUE"
        line += f" {given}" if field.default is None else f" [{given}]"
    return one_line(line)


def _field(field: FormField) -> str:
    kind = ", ".join(field.choices) if field.kind is FieldKind.CHOICE else field.kind.value
    usual = "" if field.default is None else f"; without it {field.default!r}"
    label = f": {field.label}" if field.label else ""
    return one_line(f"{field.name}{label} ({kind}{usual})")
