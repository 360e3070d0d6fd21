"""The `cache:` of a job: restored before it, kept after it, and told of in its log."""

from collections.abc import Callable
from typing import Final

from shared.protocol.pipeline import CacheSpec
from worker.logvoice import JobLog
from worker.ports import AttemptFiles, CannotCollect


class JobCache:
    """What one job asked for. It runs as well without."""

    def __init__(
        self, spec: CacheSpec, pipeline: str, files: AttemptFiles, job_log: JobLog
    ) -> None:
        self._spec: Final = spec
        self._pipeline: Final = pipeline
        self._files: Final = files
        self._log: Final = job_log
        self._key: str | None = None  # under which something may be kept

    async def restore(self, is_stopped: Callable[[], bool]) -> None:
        """The job finds what it asked for, if that is here."""
        try:
            key, found = await self._files.restore_cache(self._pipeline, self._spec, is_stopped)
        except CannotCollect as error:
            await self._log.say(f"cache {self._spec.key!r}: {error}")
            return
        if found != key:
            self._key = key
        words = "nothing kept" if found is None else f"restored {found!r}"
        await self._log.say(f"cache {key!r}: {words}")

    async def save(self) -> None:
        """A later run finds what the job left, unless it had all of it already."""
        key = self._key
        if key is None:
            return
        try:
            kept = await self._files.save_cache(self._pipeline, self._spec, key)
            words = "there is no room for it" if kept is None else f"{kept:,} files kept"
        except CannotCollect as error:
            words = str(error)
        await self._log.say(f"cache {key!r}: {words}")
