"""What cases against a worker work with: services of our own, watched, and the worker's process."""

import asyncio
import os
import shlex
import shutil
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any, Final, TypeVar

import gateway.app
import registry.app
from drawbar.conformance.case import Breach
from drawbar.conformance.workers.witness import Note, Notes, Witness
from faults.proxy.proxy import Proxy
from faults.proxy.words import Refuse, ResetPeer
from gateway.service import GatewayService
from jobstore.service import JobStoreService
from jobstore.settings import JobStoreSettings
from registry.service import RegistryService, RegistrySettings
from shared.daemon import Part
from shared.errors import Misconfigured
from shared.files import DiskFiles
from shared.http.server import Server
from shared.ids import RunId
from shared.keys import Keys, load_keys
from shared.protocol.jobs import CancelRequest, RunView, SubmitRequest
from shared.protocol.pipeline import PipelineSpec
from shared.protocol.registry import WishRequest
from shared.renewal import AttemptTokens
from shared.runtime import Runtime
from shared.tokens import Minter, Verifier

T = TypeVar("T")

NAME: Final = "conformance"
SLOTS: Final = 2
LEASE_S: Final = 6.0
REST_S: Final = 2.0  # of a job that was refused
PATIENCE_S: Final = 30.0  # until a worker has done something; interpreters take their time
LOOK_EVERY_S: Final = 0.02
END_S: Final = 5.0


class House:
    """One worker, alone with services that watch it."""

    def __init__(self, command: Sequence[str], folder: Path, runtime: Runtime) -> None:
        self.folder = folder
        self.runtime = runtime
        self.notes = Notes()
        self._command = command
        self._keys: Keys = load_keys(folder / "keys", runtime)
        settings = JobStoreSettings(lease_s=LEASE_S, heartbeat_s=LEASE_S / 12, rest_s=REST_S)
        self.jobs = JobStoreService(
            folder / "jobs.db", DiskFiles(folder / "files", runtime), runtime, settings
        )
        self.workers = RegistryService(
            folder / "registry.db", runtime, RegistrySettings(report_s=0.5, silent_after_s=20)
        )
        forwarder = GatewayService(self.jobs, runtime)
        self.at_gateway = Witness(forwarder, runtime, self.notes)
        self.at_registry = Witness(self.workers, runtime, self.notes)
        self._ways: dict[str, Proxy] = {}  # to the services
        self._process: asyncio.subprocess.Process | None = None

    @asynccontextmanager
    async def open(self) -> AsyncIterator["House"]:
        """The services serve; at the end, the worker is gone."""
        verifier = Verifier(self._keys.signing.public_key(), self.runtime)
        minter = Minter(self._keys.signing, self.runtime, verifier)
        tokens = AttemptTokens(minter, self.runtime)
        at_gateway: Any = self.at_gateway
        at_registry: Any = self.at_registry
        apps = (
            gateway.app.build_app(at_gateway, verifier, tokens, self.jobs.execution, self.jobs),
            registry.app.build_app(at_registry, verifier, minter, self._keys.enrolment_secret),
        )
        servers = [Server(app, "127.0.0.1", 0) for app in apps]
        async with AsyncExitStack() as stack:
            parts: list[Part] = [self.jobs, self.workers, *servers]
            for part in parts:
                stack.push_async_callback(part.stop)
                await part.start()
            for name, server in zip(("gateway", "registry"), servers, strict=True):
                way = Proxy(
                    name, (server.host, server.port), self.runtime, Random(0), protocol="tcp"
                )
                stack.push_async_callback(way.stop)
                await way.start()
                self._ways[name] = way
            stack.push_async_callback(self._end)
            yield self

    # -- the worker's process ------------------------------------------------------------------

    async def start(self) -> None:
        """The worker was started."""
        gateway_url, registry_url = (f"http://{way.host}:{way.port}" for way in self._ways.values())
        data = self.folder / "worker"
        data.mkdir(exist_ok=True)
        secret = self.folder / "keys" / "enrolment.secret"
        words = _filled(
            self._command,
            {
                "gateway": gateway_url,
                "registry": registry_url,
                "secret_file": str(secret),
                "data": str(data),
                "name": NAME,
                "slots": str(SLOTS),
            },
        )
        env = {k: v for k, v in os.environ.items() if not k.startswith("DRAWBAR_")} | {
            "DRAWBAR_GATEWAY_URL": gateway_url,
            "DRAWBAR_REGISTRY_URL": registry_url,
            "DRAWBAR_ENROLMENT_SECRET_FILE": str(secret),
            "DRAWBAR_DATA": str(data),
        }
        with (self.folder / "said").open("wb") as said:
            self._process = await asyncio.create_subprocess_exec(
                *words,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=said,
                stderr=said,
                env=env,
                start_new_session=True,
            )

    def cut(self, service: str) -> None:
        """Nobody listens there any more, and connections to it are reset."""
        self._ways[service].put([Refuse(), ResetPeer()])

    def mend(self, service: str) -> None:
        """It can be reached again."""
        self._ways[service].put([])

    async def kill(self) -> None:
        """The worker is no more, and could do nothing about it."""
        self.send(signal.SIGKILL)
        await self.ended(END_S)
        self._process = None

    def send(self, number: signal.Signals) -> None:
        if self._process is not None and self._process.returncode is None:
            self._process.send_signal(number)

    async def ended(self, within_s: float) -> int:
        """The worker's exit status. Breach: it goes on."""
        assert self._process is not None
        try:
            async with asyncio.timeout(within_s):
                return await self._process.wait()
        except TimeoutError:
            raise Breach(f"the worker had not ended {within_s:g} s later") from None

    async def _end(self) -> None:
        for number in (signal.SIGTERM, signal.SIGTERM, signal.SIGKILL):
            if self._process is None or self._process.returncode is not None:
                return
            self.send(number)
            try:
                async with asyncio.timeout(END_S):
                    await self._process.wait()
            except TimeoutError:
                continue

    # -- jobs, and what becomes of them --------------------------------------------------------

    async def submit(self, command: str, **fields: Any) -> RunId:
        spec = {"name": "conformance", "jobs": [{"id": "a", "command": command, **fields}]}
        ask = SubmitRequest(
            idempotency_key=self.runtime.new_id(), pipeline=PipelineSpec.model_validate(spec)
        )
        return (await self.jobs.submit(ask)).run_id

    async def cancel(self, run_id: RunId) -> None:
        await self.jobs.cancel(CancelRequest(run_id=run_id, reason="conformance"))

    async def wish(self, **fields: Any) -> None:
        """An operator wants something of the worker."""
        ask = WishRequest.model_validate({"reason": "conformance", **fields})
        await self.workers.wish(NAME, ask)

    async def end_of(self, run_id: RunId) -> RunView:
        """The run, once it has ended. Breach: it has not."""

        async def ended() -> RunView | None:
            run = await self.jobs.show_run(run_id)
            return run if run.status.is_ended else None

        return await self.until(ended, f"run {run_id} had not ended")

    async def noted(self, verb: str, count: int = 1, **fields: Any) -> Note:
        """The `count`th call of that verb that was granted, with such fields. Breach: none."""

        async def found() -> Note | None:
            all_such = [
                note
                for note in self.notes.granted(verb)
                if all(getattr(note.ask, name) == value for name, value in fields.items())
            ]
            return all_such[count - 1] if len(all_such) >= count else None

        return await self.until(found, f"the worker had not asked for {verb}")

    async def until(
        self, look: Callable[[], Awaitable[T | None]], what: str, within_s: float = PATIENCE_S
    ) -> T:
        """What `look` found. Breach: nothing in time. A process tells nobody what it did, so it
        is looked for again and again."""
        until = self.runtime.mono() + within_s
        while self.runtime.mono() < until:
            if (found := await look()) is not None:
                return found
            if self._process is not None and self._process.returncode is not None:
                raise Breach(f"{what}: the worker ended: {self._said()}")
            await self.runtime.sleep(LOOK_EVERY_S)
        raise Breach(f"{what} after {within_s:g} s")

    def file(self, name: str) -> Path:
        """Where a job of this house leaves a trace."""
        return self.folder / name

    def _said(self) -> str:
        return (self.folder / "said").read_text(errors="replace")[-300:].strip()


def words_of(command: str) -> list[str]:
    """Misconfigured: it is no command, or there is no such program."""
    try:
        words = shlex.split(command)
    except ValueError as error:
        raise Misconfigured(f"--worker is no command: {error}") from None
    if not words:
        raise Misconfigured("--worker is no command: it is empty")
    if shutil.which(words[0]) is None:
        raise Misconfigured(f"--worker cannot be started: there is no program {words[0]!r}")
    return words


def _filled(words: Sequence[str], values: Mapping[str, str]) -> list[str]:
    """The words, in each of which `{gateway}` and the like are filled in."""
    filled = list(words)
    for name, value in values.items():
        filled = [word.replace(f"{{{name}}}", value) for word in filled]
    return filled


@asynccontextmanager
async def house(command: Sequence[str], runtime: Runtime) -> AsyncIterator[House]:
    """A house of its own, with the worker at work."""
    with TemporaryDirectory(prefix="drawbar-conformance-", ignore_cleanup_errors=True) as folder:
        async with House(command, Path(folder), runtime).open() as opened:
            yield opened
