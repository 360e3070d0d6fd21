"""The log of one attempt, as the worker has a hand in it: what it hides, sends, and says itself."""

from collections.abc import Mapping, Sequence
from contextlib import suppress

from shared.protocol.gateway import RunContext
from worker.crew import Crew
from worker.environment import secrets_in
from worker.lease import Holder
from worker.logstream import LogStream
from worker.ports import AttemptFiles, CannotStart
from worker.tasks.masking import Masker, TooManySecrets


class JobLog:
    """Masked from `prepare` on, in a file from `write_into` on, sent from `listen` on."""

    def __init__(self, holder: Holder, crew: Crew) -> None:
        self.stream: LogStream | None = None
        self._holder = holder
        self._crew = crew
        self._masker = Masker()
        self._most_bytes: int | None = None
        self._files: AttemptFiles | None = None

    def prepare(
        self, env: Mapping[str, str], context: RunContext, earlier: Sequence[str] = ()
    ) -> list[str]:
        """What will be sent has none of the job's secrets, which are returned, and none of those
        that it had `earlier`; and is within its limit. CannotStart: there are too many of them."""
        settings = self._crew.settings
        secrets = secrets_in(env, settings.masked)
        try:
            self._masker.add([*secrets, *earlier])
        except TooManySecrets as error:
            raise CannotStart(f"its environment has too many secrets: {error}") from None
        self._most_bytes = settings.most_log_bytes(context)
        return secrets

    def mask(self, text: str) -> str:
        return self._masker.mask_text(text)

    def write_into(self, files: AttemptFiles) -> None:
        self._files = files

    def listen(self) -> None:
        """What is written into the log is sent as it comes. Safe to repeat."""
        if self.stream is None and self._files is not None:
            crew = self._crew
            self.stream = LogStream(
                self._holder,
                self._files,
                crew.gateway,
                crew.runtime,
                self._holder.cancel,
                self._masker,
                self._most_bytes,
            )
            crew.streams.open(self.stream)

    async def say(self, line: str) -> None:
        """A line of the worker's own is in the log, if that can be written at all."""
        if self._files is not None:
            self.listen()
            with suppress(CannotStart):
                await self._files.append_log(f"[drawbar] {line}")

    def close(self) -> None:
        """Nothing more will be written into it."""
        if self.stream is not None:
            self._crew.streams.close(self.stream)
