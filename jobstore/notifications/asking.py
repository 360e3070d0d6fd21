"""What is said of a question that a task asks, in each kind of message. Pure."""

from email.message import EmailMessage
from typing import Any, Final

from jobstore.notifications.mail import addressed
from jobstore.notifications.words import card, for_slack, for_teams
from shared.answers import answer_line, field_line
from shared.protocol.questions import QuestionView
from shared.reports.facts import clean, moment, one_line

LONGEST: Final = 200  # characters of a subject


def headline(asked: QuestionView) -> str:
    """`? deploy: run 12 asks: Deploy to production?`"""
    said = f"? {asked.pipeline}: run {asked.run_id} asks: {asked.question}"
    return one_line(said)[:LONGEST]


def webhook(asked: QuestionView, delivery: str) -> dict[str, Any]:
    """The body of a webhook. Fields are added, never renamed."""
    return {
        "event": "question.asked",
        "delivery": delivery,
        "question": asked.model_dump(mode="json"),
        "answer_with": answer_line(asked),
    }


def slack(asked: QuestionView) -> dict[str, Any]:
    lines = [f"*{for_slack(headline(asked))}*", *map(for_slack, _lines(asked))]
    return {"text": "\n".join([*lines, f"`{for_slack(clean(answer_line(asked)))}`"])}


def teams(asked: QuestionView) -> dict[str, Any]:
    return card(headline(asked), [for_teams(text) for text in (*_lines(asked), _how(asked))])


def mail(asked: QuestionView, delivery: str, to: str, sender: str | None) -> EmailMessage:
    message = addressed(headline(asked), delivery, asked.asked_at, to, sender)
    message.set_content("\n".join([clean(asked.question), "", *_lines(asked), "", _how(asked)]))
    return message


def _lines(asked: QuestionView) -> list[str]:
    lines = [f"job {one_line(asked.job_id)}"]
    if asked.choices:
        lines.append(f"choices: {', '.join(map(one_line, asked.choices))}")
    lines += [one_line(field_line(field)) for field in asked.fields]
    if asked.until is not None:
        lines.append(f"until {moment(asked.until)}")
    return lines


def _how(asked: QuestionView) -> str:
    return f"Answer with: {clean(answer_line(asked))}"
