"""What a pipeline must keep beyond its shape: unique ids, known dependencies, no cycle, times and
receivers that mean something.

Pure, and shared by the loader of documents (which adds line numbers) and the job service (which
trusts nobody).
"""

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Final
from urllib.parse import urlsplit

from shared.protocol.pipeline import PipelineSpec


@dataclass(frozen=True, slots=True)
class Mistake:
    """One thing wrong. `path` leads to it: ("jobs", 3, "needs", 0)."""

    path: tuple[str | int, ...]
    message: str


def find_mistakes(pipeline: PipelineSpec) -> list[Mistake]:
    """Every rule that the pipeline breaks, in document order; empty when it can run."""
    return [
        *_schedule(pipeline),
        *_receivers(pipeline),
        *_duplicates(pipeline),
        *_unknown_names(pipeline),
        *_cycles(pipeline),
    ]


class _Hints:
    """Nearest names, while looking for them is cheap: a look compares with every known name."""

    def __init__(self) -> None:
        self._comparisons = 50_000  # about half a second

    def nearest(self, name: str, known: Collection[str]) -> str:
        self._comparisons -= len(known)
        return nearest(name, list(known)) if self._comparisons >= 0 else ""


def nearest(name: str, known: list[str]) -> str:
    """' (did you mean …?)' when one of `known` is close to `name`, else nothing."""
    close = get_close_matches(name, known, n=1, cutoff=0.6)
    return f" (did you mean {close[0]!r}?)" if close else ""


def _schedule(pipeline: PipelineSpec) -> Iterator[Mistake]:
    if pipeline.schedule is not None:
        from shared.cron import BadSchedule, Cron  # few pipelines have one

        for field, cron, zone in (
            ("cron", pipeline.schedule.cron, "UTC"),
            ("timezone", "@daily", pipeline.schedule.timezone),
        ):
            try:
                Cron(cron, zone)
            except BadSchedule as bad:
                yield Mistake(("schedule", field), str(bad))


def _receivers(pipeline: PipelineSpec) -> Iterator[Mistake]:
    notify = pipeline.notify
    if notify is not None:
        for i, address in enumerate(notify.email):
            if _ADDRESS.fullmatch(address) is None:
                yield Mistake(("notify", "email", i), f"{address!r} is not an e-mail address")
        for name in ("webhook", "slack", "teams"):
            url = getattr(notify, name)
            if url is not None and not _is_url(url):  # never quoted: it may hold a secret
                yield Mistake(("notify", name), f"{name} takes a URL, for example https://host/…")


# Enough to tell an address from a slip of the pen, and to keep line ends out of mail headers.
_ADDRESS: Final = re.compile(
    r"[^\s@,;<>()\"\x00-\x1f\x7f]{1,64}@[^\s@,;<>()\"\x00-\x1f\x7f]{1,255}"
)


def _is_url(text: str) -> bool:
    try:
        parts = urlsplit(text)
        is_good = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # a port that is no number, or half of an IPv6 address
        return False
    return is_good and text.isprintable() and " " not in text and len(text) <= 2_000


def _duplicates(pipeline: PipelineSpec) -> Iterator[Mistake]:
    first: dict[str, int] = {}
    for i, job in enumerate(pipeline.jobs):
        if job.id in first:
            yield Mistake(("jobs", i, "id"), f"job id {job.id!r} is used twice")
        first.setdefault(job.id, i)
    seen: set[str] = set()
    for i, stage in enumerate(pipeline.stages):
        if stage in seen:
            yield Mistake(("stages", i), f"stage {stage!r} is listed twice")
        seen.add(stage)


def _unknown_names(pipeline: PipelineSpec) -> Iterator[Mistake]:
    stage_of = {job.id: job.stage for job in pipeline.jobs}
    hints = _Hints()
    position = {stage: i for i, stage in enumerate(pipeline.stages)}
    for i, job in enumerate(pipeline.jobs):
        where = ("jobs", i)
        if job.stage is not None and job.stage not in position:
            hint = hints.nearest(job.stage, pipeline.stages)
            yield Mistake((*where, "stage"), f"stage {job.stage!r} is not in stages{hint}")
        if job.stage is None and pipeline.stages:
            yield Mistake(where, f"job {job.id!r} names no stage, but the pipeline has stages")
        needs: set[str] = set()
        for n, need in enumerate(job.needs):
            there = (*where, "needs", n)
            if need in needs:
                yield Mistake(there, f"job {job.id!r} needs {need!r} twice")
            elif need == job.id:
                yield Mistake(there, f"job {job.id!r} needs itself")
            elif need not in stage_of:
                hint = hints.nearest(need, stage_of)
                yield Mistake(there, f"job {job.id!r} needs {need!r}, which does not exist{hint}")
            else:
                mine, theirs = position.get(job.stage or ""), position.get(stage_of[need] or "")
                if mine is not None and theirs is not None and theirs > mine:
                    yield Mistake(
                        there, f"job {job.id!r} needs {need!r}, which is in a later stage"
                    )
            needs.add(need)
        for n, name in enumerate(job.inputs):
            if name not in needs:
                yield Mistake(
                    (*where, "inputs", n),
                    f"job {job.id!r} takes inputs of {name!r}, which is not among its needs"
                    + hints.nearest(name, needs),
                )


def _cycles(pipeline: PipelineSpec) -> Iterator[Mistake]:
    """Circles that share no job, each as a path. Jobs that need themselves are reported elsewhere.

    Depth-first, without recursion: a chain may be longer than Python's stack.
    """
    needs: dict[str, list[str]] = {}
    index: dict[str, int] = {}
    for i, spec in enumerate(pipeline.jobs):
        if spec.id not in index:
            index[spec.id] = i
            needs[spec.id] = [need for need in spec.needs if need != spec.id]
    done: set[str] = set()
    reported: set[str] = set()
    for root in index:
        path: list[str] = []
        on_path: dict[str, int] = {}
        stack: list[tuple[str, int]] = [(root, 0)]
        while stack:
            job, n = stack.pop()
            if n == 0:
                if job in done:
                    continue
                on_path[job] = len(path)
                path.append(job)
            if n == len(needs[job]):
                done.add(job)
                path.pop()
                del on_path[job]
                continue
            stack.append((job, n + 1))
            need = needs[job][n]
            if need in on_path:
                circle = path[on_path[need] :] if need not in reported else [need]
                if reported.isdisjoint(circle):
                    reported.update(circle)
                    yield Mistake(("jobs", index[need], "needs"), _in_words(circle))
            elif need in needs and need not in done:
                stack.append((need, 0))


def _in_words(circle: list[str]) -> str:
    names = [*circle, circle[0]]
    if len(names) > 30:
        names[15:-15] = [f"({len(names) - 30} more)"]
    return "dependencies go in a circle: " + " → ".join(names)
