"""People: they submit until it is acknowledged, look again and again, and sometimes send nonsense.

Every call, and what was heard of it, is in the history.
"""

import random
from collections.abc import Mapping, Sequence
from typing import Final

from faults.chaos.nonsense import NONSENSE, send
from faults.chaos.recorder import Recorder
from shared.errors import Forbidden, Misconfigured, ServiceError, Unauthenticated
from shared.http.clients import JobsClient
from shared.ids import RunId
from shared.protocol.jobs import RunView, SubmitRequest
from shared.protocol.pipeline import PipelineSpec
from shared.runtime import Runtime

WHO: Final = "people"
REST_S: Final = 0.2  # after a call that did not work
LOOK_EVERY_S: Final = 0.25
AGAIN: Final = 0.1  # of the acknowledged submits are sent once more


class Driver:
    """The workload, driven through `jobs`, which faults may hold up."""

    def __init__(
        self,
        jobs: JobsClient,
        pipelines: Sequence[PipelineSpec],
        recorder: Recorder,
        runtime: Runtime,
        seed: int,
    ) -> None:
        self.pipelines = {pipeline.name: pipeline for pipeline in pipelines}
        self.acknowledged: dict[str, RunId] = {}  # by name
        self.ended: dict[RunId, int] = {}  # how many jobs of each run have been seen to end
        self.done: dict[RunId, RunView] = {}
        self.total = sum(len(pipeline.jobs) for pipeline in pipelines)
        self._jobs = jobs
        self._recorder = recorder
        self._runtime = runtime
        self._chance = random.Random(f"driver {seed}")

    @property
    def ended_jobs(self) -> int:
        return sum(self.ended.values())

    @property
    def is_drained(self) -> bool:
        """Everything was submitted and was seen to end."""
        return len(self.done) == len(self.pipelines)

    async def submit_all(self, within_s: float) -> None:
        """Each pipeline was submitted, evenly over that time; a few were sent again later."""
        pause_s = within_s / max(1, len(self.pipelines))
        for pipeline in self.pipelines.values():
            due = self._recorder.now + pause_s
            await self._submit(pipeline)
            if self._chance.random() < AGAIN:
                await self._submit(pipeline)
            await self._runtime.sleep(max(0.0, due - self._recorder.now))

    async def look(self) -> None:
        """For ever: what is known of runs that have not ended is brought up to date."""
        while True:
            waiting = [run for run in self.acknowledged.values() if run not in self.done]
            for run_id in waiting[:20]:
                await self._look_at(run_id)
            await self._runtime.sleep(LOOK_EVERY_S)

    async def send_nonsense(self, urls: Mapping[str, str], token: str, every_s: float) -> None:
        """For ever: every so often, something that must be turned away."""
        while True:
            case = self._chance.choice(NONSENSE)
            invoked = self._recorder.invoke(WHO, "nonsense", case=case.name)
            status, code = await send(case, urls[case.service], token)
            if status is None:
                self._recorder.fail(invoked, is_certain=False, error="Unavailable", message=code)
            else:
                self._recorder.answer(invoked, status=status, code=code)
            await self._runtime.sleep(every_s)

    async def _submit(self, pipeline: PipelineSpec) -> None:
        ask = SubmitRequest(idempotency_key=pipeline.name, pipeline=pipeline)
        while True:
            invoked = self._recorder.invoke(WHO, "submit", name=pipeline.name)
            try:
                run_id = (await self._jobs.submit(ask)).run_id
            except ServiceError as error:
                self._recorder.failed(invoked, error)
                if isinstance(error, Forbidden | Unauthenticated):
                    raise Misconfigured(f"no work can be submitted here: {error}") from None
                if not error.retryable:
                    return
                await self._runtime.sleep(REST_S)
                continue
            self._recorder.answer(invoked, run=run_id)
            self._recorder.event(WHO, "submitted", run=run_id, name=pipeline.name)
            self.acknowledged[pipeline.name] = run_id
            return

    async def _look_at(self, run_id: RunId) -> None:
        invoked = self._recorder.invoke(WHO, "show", run=run_id)
        try:
            view = await self._jobs.show_run(run_id)
        except ServiceError as error:
            self._recorder.failed(invoked, error)
            return
        self._recorder.answer(invoked)
        ended = {job.id: job.status.value for job in view.jobs if job.status.is_ended}
        status = view.status.value if view.status.is_ended else None
        if len(ended) != self.ended.get(run_id) or status is not None:
            self._recorder.event(WHO, "seen", run=run_id, status=status, ended=ended)
        self.ended[run_id] = len(ended)
        if status is not None:
            self.done[run_id] = view
