"""Which jobs watch the whole run, and for whose ends they wait.

A job that runs on failure or always, and has neither needs nor stages to look at, looks at the
run: it waits until every job that runs on success has ended. But not for those that themselves
wait for such a job, however indirectly: neither would ever start.
"""

from collections import defaultdict
from typing import NamedTuple

from shared.protocol.pipeline import PipelineSpec, When


class Watching(NamedTuple):
    watchers: frozenset[str]
    main: frozenset[str]  # empty where nobody watches


NOBODY = Watching(frozenset(), frozenset())


def watching(pipeline: PipelineSpec) -> Watching:
    """The ids of both kinds."""
    if pipeline.stages:
        return NOBODY
    watchers = {
        job.id for job in pipeline.jobs if job.when is not When.ON_SUCCESS and not job.needs
    }
    if not watchers:
        return NOBODY
    dependents: dict[str, list[str]] = defaultdict(list)
    for job in pipeline.jobs:
        for need in job.needs:
            dependents[need].append(job.id)
    after, frontier = set(watchers), list(watchers)
    while frontier:
        new = [job for job in dependents[frontier.pop()] if job not in after]
        after.update(new)
        frontier += new
    main = {job.id for job in pipeline.jobs if job.when is When.ON_SUCCESS and job.id not in after}
    return Watching(frozenset(watchers), frozenset(main))
