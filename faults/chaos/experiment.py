"""One chaos run from its start to its story: steady, tormented, healed, drained, read, ended."""

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Protocol

from faults.chaos.driver import Driver
from faults.chaos.final import read_final
from faults.chaos.ledger import Ledger
from faults.chaos.nemesis import Nemesis, Victims
from faults.chaos.plan import ChaosPlan
from faults.chaos.recorder import Recorder
from faults.chaos.schedule import Act, acts_of, digest_of
from faults.chaos.story import Story
from faults.chaos.workload import pipelines
from faults.judging.final_state import FinalState
from shared.errors import ServiceError
from shared.http.clients import JobsClient
from shared.protocol.jobs import RunFilter
from shared.runtime import Runtime

LOOK_S: Final = 0.1
TELL_EVERY_S: Final = 5.0
Spawn = Callable[[Coroutine[Any, Any, None], str], None]


class Site(Victims, Protocol):
    """A cluster that is started, or one to which we attach."""

    urls: dict[str, str]
    token: str
    jobs: JobsClient  # with patience, and past the proxies
    people: JobsClient
    is_attached: bool

    @property
    def secrets(self) -> dict[str, bytes]:
        """What must be seen nowhere, by what it is."""

    async def start(self, spawn: Spawn) -> None:
        """It serves."""

    async def heal(self) -> None:
        """Nothing is broken any more, and all that was stopped runs."""

    async def end(self) -> dict[int, str]:
        """What was started has ended; processes that were left behind."""

    @property
    def deaths(self) -> int:
        """How many parts ended that were not told to."""

    def note_strikes(self) -> None:
        """What struck at points, and is not in the history yet, is."""

    def command_lines(self) -> list[str]: ...


@dataclass
class Experiment:
    """`folder` is its own, and stays as it is in the end."""

    plan: ChaosPlan
    folder: Path
    runtime: Runtime
    tell: Callable[[str], None] = field(default=lambda line: None)
    prefix: str = "chaos"  # of the names of its runs

    async def run(self, open_site: Callable[[Recorder], Site]) -> Story:
        """What happened. Misconfigured: there is no cluster to begin with."""
        recorder = Recorder(self.folder / "history.jsonl", self.runtime)
        ledger = Ledger(self.folder, recorder)
        ledger.open()
        site = open_site(recorder)
        try:
            async with asyncio.TaskGroup() as group:
                side: list[asyncio.Task[None]] = []

                def spawn(work: Coroutine[Any, Any, None], name: str) -> None:
                    side.append(group.create_task(work, name=name))

                await site.start(spawn)
                story = await self._through(site, recorder, ledger, spawn)
                for task in side:
                    task.cancel()
        finally:
            self.tell("leaving the cluster" if site.is_attached else "ending the cluster")
            left = await site.end()
            recorder.close()
        story.left = left
        return story

    async def _through(self, site: Site, recorder: Recorder, ledger: Ledger, spawn: Spawn) -> Story:
        plan, runtime = self.plan, self.runtime
        work = pipelines(plan, self.folder, self.prefix)
        driver = Driver(site.people, work, recorder, runtime, plan.seed)
        nemesis = Nemesis(site, recorder, runtime, lambda: driver.ended_jobs)
        acts = acts_of(plan)
        self.tell(f"steady after {recorder.now:.1f} s; {driver.total} jobs, {len(acts)} faults")
        spawn(self._read(ledger), "ledger")
        spawn(driver.look(), "look")
        spawn(self._tell(recorder, driver, nemesis, ledger), "tell")
        if plan.workload.bad_input_every:
            every_s = plan.workload.bad_input_every
            spawn(driver.send_nonsense(site.urls, site.token, every_s), "nonsense")
        submitted = asyncio.Event()
        spawn(_then(driver.submit_all(plan.duration_s * plan.workload.submit_within), submitted),
              "submit")  # fmt: skip
        aborted = await self._torment(site, driver, nemesis, ledger, acts)
        await site.heal()
        healed_at = recorder.now
        recorder.event("nemesis", "healed")
        self.tell(f"healed after {nemesis.faults} faults; waiting for the rest to end")
        is_drained = await self._drain(driver, submitted)
        drain_s = recorder.now - healed_at
        ledger.look()
        site.note_strikes()
        self.tell(f"{'all has ended' if is_drained else 'not all has ended'}; reading the store")
        entries = list(recorder.entries)  # what is acknowledged later may not be in the store yet
        final, intruders, unread = FinalState(), 0, None
        try:
            final = await read_final(site.jobs, self.prefix)
            intruders = len((await site.jobs.list_runs(RunFilter(name="nonsense"))).runs)
        except* ServiceError as errors:
            unread = str(errors.exceptions[0])
        return Story(
            plan=plan,
            folder=self.folder,
            entries=entries,
            final=final,
            pipelines=driver.pipelines,
            schedule=digest_of(acts),
            took_s=recorder.now,
            is_attached=site.is_attached,
            is_drained=is_drained,
            drain_s=drain_s,
            aborted=aborted,
            done=dict(nemesis.done),
            missed=dict(nemesis.missed),
            skipped=dict(site.skipped),
            argv=site.command_lines(),
            secrets=site.secrets,
            environments=dict(ledger.environments()),
            intruders=intruders,
            unread=unread,
        )

    async def _torment(
        self, site: Site, driver: Driver, nemesis: Nemesis, ledger: Ledger, acts: list[Act]
    ) -> str | None:
        """The time is over, or there was a reason to stop earlier, which is returned."""
        runtime = self.runtime
        began = progress_at = runtime.mono()
        ended, reason = 0, None
        async with asyncio.TaskGroup() as group:
            torment = group.create_task(
                nemesis.torment(acts, self.plan.steps, began), name="torment"
            )
            while reason is None and runtime.mono() - began < self.plan.duration_s:
                await runtime.sleep(LOOK_S)
                if driver.ended_jobs != ended or driver.is_drained:
                    ended, progress_at = driver.ended_jobs, runtime.mono()
                reason = self._reason(site, ledger, runtime.mono() - progress_at)
            torment.cancel()
        return reason

    def _reason(self, site: Site, ledger: Ledger, idle_s: float) -> str | None:
        abort = self.plan.abort
        if abort.no_progress_s is not None and idle_s > abort.no_progress_s:
            return f"no job has ended for {abort.no_progress_s:g} s"
        if abort.overlaps is not None and ledger.overlaps >= abort.overlaps:
            return f"{ledger.overlaps} processes began beside an earlier one of their job"
        if abort.deaths is not None and site.deaths >= abort.deaths:
            return f"{site.deaths} parts of the cluster ended by themselves"
        return None

    async def _drain(self, driver: Driver, submitted: asyncio.Event) -> bool:
        """Whether all was submitted and has ended, as soon as that is so or in time."""
        try:
            async with asyncio.timeout(self.plan.steady_state.drained_within_s):
                await submitted.wait()
                while not driver.is_drained:
                    await self.runtime.sleep(LOOK_S)
        except TimeoutError:
            return False
        return True

    async def _read(self, ledger: Ledger) -> None:
        while True:
            ledger.look()
            await self.runtime.sleep(LOOK_S)

    async def _tell(
        self, recorder: Recorder, driver: Driver, nemesis: Nemesis, ledger: Ledger
    ) -> None:
        while True:
            await self.runtime.sleep(TELL_EVERY_S)
            self.tell(
                f"{recorder.now:5.0f} s   {nemesis.faults} faults   "
                f"{driver.ended_jobs} of {driver.total} jobs ended   "
                f"{ledger.starts} processes seen, {ledger.overlaps} beside another"
            )


async def _then(work: Coroutine[Any, Any, None], done: asyncio.Event) -> None:
    await work
    done.set()
