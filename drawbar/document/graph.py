"""A pipeline's graph for eyes: as text for a terminal, as Mermaid, as DOT."""

from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from typing import Final

from shared.protocol.pipeline import JobSpec, PipelineSpec

_WIDTH: Final = 100  # columns that a line of text may fill before dependencies are only counted


def render_graph(spec: PipelineSpec, format: str) -> str:
    """The graph of `spec`, which keeps the rules, in one of FORMATS. ValueError: no such format."""
    if format not in FORMATS:
        raise ValueError(f"no graph format {format!r}; there are {', '.join(FORMATS)}")
    return "\n".join(FORMATS[format](spec)) + "\n"


def layers(spec: PipelineSpec) -> list[list[JobSpec]]:
    """Jobs in the order in which they may start: none needs one of its own layer or a later one.

    Jobs of a stage stand behind all jobs of the stages before it, even of those that they do not
    need, because that is when they start.
    """
    depth: dict[str, int] = {}
    floor = 0
    for _, members in _by_stage(spec):
        for job in _in_order(members):
            depth[job.id] = max([floor, *(depth[need] + 1 for need in job.needs)])
        floor = max([floor, *(depth[job.id] + 1 for job in members)])
    ranks: list[list[JobSpec]] = [[] for _ in range(floor)]
    for job in spec.jobs:
        ranks[depth[job.id]].append(job)
    return ranks


def _in_order(jobs: Sequence[JobSpec]) -> list[JobSpec]:
    """`jobs`, each behind those among them that it needs (Kahn 1962)."""
    by_id = {job.id: job for job in jobs}
    waits = {job.id: sum(need in by_id for need in job.needs) for job in jobs}
    dependents: dict[str, list[str]] = {name: [] for name in by_id}
    for job in jobs:
        for need in job.needs:
            if need in by_id:
                dependents[need].append(job.id)
    order = [job for job in jobs if not waits[job.id]]
    for job in order:
        for name in dependents[job.id]:
            waits[name] -= 1
            if not waits[name]:
                order.append(by_id[name])
    return order


def _text(spec: PipelineSpec) -> Iterator[str]:
    """One block per layer, numbered in starting order; `←` names what a job waits for."""
    ranks = layers(spec)
    stages = _count(len(spec.stages), "stage") + ", " if spec.stages else ""
    sizes = f"{_count(len(spec.jobs), 'job')}, {stages}{_count(len(ranks), 'layer')}"
    yield f"{_printable(spec.name)}: {sizes}"
    names = {job.id: _named(job) for job in spec.jobs}
    column = min(40, max(len(name) for name in names.values()))
    digits = len(str(len(ranks)))
    stage: str | None = None
    for number, rank in enumerate(ranks, start=1):
        yield "" if number == 1 else f"{'│':>{digits}}"
        if rank[0].stage != stage:
            stage = rank[0].stage
            yield f"{'◇':>{digits}} {_printable(stage or '')}"
        for i, job in enumerate(rank):
            spine = str(number) if i == 0 else "│" if number < len(ranks) else " "
            start = f"{spine:>{digits}} {'─' if i == 0 else ' '}{_branch(i, len(rank))}─ "
            line = f"{start}{names[job.id]:<{column}}"
            yield (line + _arrow(job.needs, _WIDTH - len(line))).rstrip()


def _branch(i: int, size: int) -> str:
    if size == 1:
        return "─"
    return "┬" if i == 0 else "└" if i == size - 1 else "├"


def _arrow(needs: Sequence[str], room: int) -> str:
    """As many names as fit, at least one; the rest is counted."""
    if not needs:
        return ""
    shown = [_printable(need) for need in needs]
    text = "  ← " + shown[0]
    for n, name in enumerate(shown[1:], start=1):
        rest = f" and {len(shown) - n} more"
        if len(text) + len(name) + 2 + (len(rest) if n < len(shown) - 1 else 0) > room:
            return text + rest
        text += f", {name}"
    return text


def _mermaid(spec: PipelineSpec) -> Iterator[str]:
    """https://mermaid.js.org/syntax/flowchart.html; stages are subgraphs, linked in order."""
    keys = {job.id: f"j{i}" for i, job in enumerate(spec.jobs)}
    yield "flowchart LR"
    for i, (stage, members) in enumerate(_by_stage(spec)):
        indent = "  "
        if stage is not None:
            yield f'  subgraph s{i}["{_for_mermaid(stage)}"]'
            indent = "    "
        for job in members:
            yield f'{indent}{keys[job.id]}["{_for_mermaid(_named(job))}"]'
        if stage is not None:
            yield "  end"
    for job in spec.jobs:
        for need in job.needs:
            yield f"  {keys[need]} --> {keys[job.id]}"
    if spec.stages:
        for before, after in pairwise(range(len(_by_stage(spec)))):
            yield f"  s{before} ==> s{after}"


def _dot(spec: PipelineSpec) -> Iterator[str]:
    """https://graphviz.org/doc/info/lang.html; stages are clusters, linked in order."""
    yield f"digraph {_for_dot(spec.name)} {{"
    yield "  rankdir=LR; compound=true; node [shape=box];"
    groups = _by_stage(spec)
    for i, (stage, members) in enumerate(groups):
        indent = "  "
        if stage is not None:
            yield f"  subgraph cluster_{i} {{"
            yield f"    label={_for_dot(stage)};"
            indent = "    "
        for job in members:
            label = "" if not job.allow_failure else f" [label={_for_dot(_named(job))}]"
            yield f"{indent}{_for_dot(job.id)}{label};"
        if stage is not None:
            yield "  }"
    for job in spec.jobs:
        for need in job.needs:
            yield f"  {_for_dot(need)} -> {_for_dot(job.id)};"
    if spec.stages:
        for i, ((_, before), (_, after)) in enumerate(pairwise(groups)):
            ends = f"{_for_dot(before[0].id)} -> {_for_dot(after[0].id)}"
            yield f"  {ends} [ltail=cluster_{i}, lhead=cluster_{i + 1}, style=bold];"
    yield "}"


FORMATS: Final[dict[str, Callable[[PipelineSpec], Iterator[str]]]] = {
    "text": _text,
    "mermaid": _mermaid,
    "dot": _dot,
}


def _by_stage(spec: PipelineSpec) -> list[tuple[str | None, list[JobSpec]]]:
    """Stages that have jobs, in order; without stages one group, named None."""
    groups: dict[str | None, list[JobSpec]] = {stage: [] for stage in spec.stages or (None,)}
    for job in spec.jobs:
        groups[job.stage].append(job)
    return [(stage, members) for stage, members in groups.items() if members]


def _named(job: JobSpec) -> str:
    return _printable(job.id) + (" (may fail)" if job.allow_failure else "")


def _count(n: int, thing: str) -> str:
    return f"{n} {thing}" if n == 1 else f"{n} {thing}s"


def _printable(text: str) -> str:
    """`text` without characters that a terminal would act upon."""
    return "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in text)


def _for_mermaid(text: str) -> str:
    return "".join(f"#{ord(c)};" if c in '"#&<>`' else c for c in text)


def _for_dot(text: str) -> str:
    escaped = _printable(text).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
