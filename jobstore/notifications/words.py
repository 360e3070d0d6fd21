"""What is said of a run that has ended, in each kind of message. Pure."""

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from shared.protocol.jobs import JobView, RunView
from shared.protocol.states import RunStatus
from shared.reports import facts
from shared.words import count, duration

LISTED: Final = 20  # jobs that failed
LONGEST: Final = 300  # characters of a job's reason


class News(NamedTuple):
    """A run as it ended. It may have changed since: `status` is what there is to tell."""

    run: RunView
    status: RunStatus
    delivery: str  # the same for every try of one notification


def headline(news: News) -> str:
    """`✘ nightly: run 12 failed in 4.2 s`."""
    took = facts.took_s(news.run)
    in_time = "" if took is None else f" in {duration(took)}"
    symbol, name = facts.look(news.status).symbol, facts.one_line(news.run.name)
    return f"{symbol} {name}: run {news.run.run_id} {_VERB[news.status]}{in_time}"


def webhook(news: News) -> dict[str, Any]:
    """The body of a webhook. Fields are added, never renamed."""
    run = news.run.model_dump(mode="json", exclude={"jobs", "stages"})
    return {
        "event": "run.ended",
        "delivery": news.delivery,
        "run": run | {"status": news.status.value},
        "failed_jobs": [
            {
                "id": job.id,
                "status": job.status.value,
                "exit_code": job.exit_code,
                "reason": _reason(job),
            }
            for job in _failed(news)
        ],
    }


def slack(news: News) -> dict[str, Any]:
    """For an incoming webhook of Slack; names are no markup there."""
    lines = [f"*{for_slack(headline(news))}*", for_slack(_counts(news))]
    lines += [
        f"• `{for_slack(job.id)}` {job.status.value}: {for_slack(_reason(job))}"
        for job in _failed(news)
    ]
    return {"text": "\n".join([*lines, *_rest(news)])}


def teams(news: News) -> dict[str, Any]:
    """For a workflow of Microsoft Teams: an Adaptive Card."""
    blocks: list[dict[str, Any]] = [_block(_counts(news)) | {"isSubtle": True}]
    failed = _failed(news)
    if failed:
        listed = [
            {
                "title": for_teams(job.id),
                "value": for_teams(f"{job.status.value}: {_reason(job)}"),
            }
            for job in failed
        ]
        blocks.append({"type": "FactSet", "facts": listed})
    return _card(headline(news), [*blocks, *map(_block, _rest(news))])


def card(title: str, texts: Sequence[str]) -> dict[str, Any]:
    """An Adaptive Card that says these texts, in which no markup is left."""
    return _card(title, [_block(text) for text in texts])


def _card(title: str, blocks: Sequence[dict[str, Any]]) -> dict[str, Any]:
    head = _block(for_teams(title)) | {"weight": "Bolder", "size": "Medium"}
    content = {
        "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
        "type": "AdaptiveCard",
        "version": "1.4",
        "body": [head, *blocks],
    }
    kind = "application/vnd.microsoft.card.adaptive"
    return {"type": "message", "attachments": [{"contentType": kind, "content": content}]}


def _block(text: str) -> dict[str, Any]:
    return {"type": "TextBlock", "text": text, "wrap": True}


_VERB: Final = {
    RunStatus.SUCCESS: "succeeded",
    RunStatus.FAILED: "failed",
    RunStatus.CANCELLED: "was cancelled",
}


def _failed(news: News) -> Sequence[JobView]:
    return facts.failures(news.run)[:LISTED]


def _rest(news: News) -> list[str]:
    more = len(facts.failures(news.run)) - LISTED
    return [f"and {count(more, 'job')} more"] if more > 0 else []


def _counts(news: News) -> str:
    said = ", ".join(f"{number:,} {status}" for status, number in facts.counts(news.run))
    return f"{count(len(news.run.jobs), 'job')}: {said}"


def _reason(job: JobView) -> str:
    return facts.one_line(facts.reason_words(job.reason))[:LONGEST]


def for_slack(text: str) -> str:
    """https://api.slack.com/reference/surfaces/formatting#escaping"""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace("`", "'")


def for_teams(text: str) -> str:
    """Text blocks take some Markdown: no links, no emphasis by accident."""
    for mark in ("\\", "*", "_", "[", "]", "`"):
        text = text.replace(mark, f"\\{mark}")
    return text
