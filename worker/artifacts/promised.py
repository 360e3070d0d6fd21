"""What an attempt left of the artifacts that its job promised, or that its task named."""

from collections.abc import Sequence
from contextlib import suppress
from typing import Final

from shared.protocol.gateway import ArtifactEntry, Outcome, Result, RunContext
from shared.protocol.pipeline import When
from worker.ending import is_success, spoiled
from worker.ports import ArtifactLimits, AttemptFiles, CannotCollect

LEAVES_ARTIFACTS: Final = (
    Outcome.EXITED,
    Outcome.SIGNALED,
    Outcome.TIMEOUT,
    Outcome.TASK_ENDED,
    Outcome.TASK_BROKEN,
    Outcome.POSTCHECK_FAILED,
)


async def collect_promised(
    context: RunContext,
    result: Result,
    published: Sequence[str],
    files: AttemptFiles | None,
    limits: ArtifactLimits,
) -> tuple[tuple[ArtifactEntry, ...], Result]:
    """What there is, and the result with it: a success lacks nothing, a failed job may have left
    less than it promised. `published`: globs that its task named while it ran."""
    is_good = is_success(result)
    wanted = {When.ON_SUCCESS: is_good, When.ON_FAILURE: not is_good, When.ALWAYS: True}
    promised = context.artifacts if wanted[context.artifacts_when] else ()
    globs = (*promised, *published)
    if files is None and globs and is_good:  # this worker's settings name another folder
        return (), spoiled(result, "what it left cannot be found any more")
    if not globs or files is None or result.outcome not in LEAVES_ARTIFACTS:
        return (), result
    if is_good:
        try:
            return tuple(await files.find_artifacts(globs, limits)), result
        except CannotCollect as error:
            return (), spoiled(result, str(error))
    found: dict[str, ArtifactEntry] = {}
    for glob in globs:
        with suppress(CannotCollect):
            found |= {e.path: e for e in await files.find_artifacts([glob], limits)}
    return tuple(found[path] for path in sorted(found)), result
