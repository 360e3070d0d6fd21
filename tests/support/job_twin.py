"""The rules by which jobs follow each other, slow and obvious: a twin to compare the store with.

After each step every rule is applied to every job until nothing changes any more. It knows
nothing of counters, indices or SQL, and of no more than needs, stages, conditions and on_error.
"""

from dataclasses import dataclass

from shared.protocol.pipeline import JobSpec, OnError, PipelineSpec, When


@dataclass
class TwinJob:
    spec: JobSpec
    status: str = "blocked"
    why: str | None = None  # of a skip
    by_failure: bool = False  # the skip

    @property
    def ended(self) -> bool:
        return self.status in ("success", "failed", "skipped", "cancelled")

    @property
    def lets_go(self) -> bool:
        return self.status == "success" or (self.status == "failed" and self.spec.allow_failure)

    @property
    def has_failed(self) -> bool:
        return self.status == "failed" or (self.status == "skipped" and self.by_failure)

    @property
    def counts(self) -> bool:
        return self.status == "failed" and not self.spec.allow_failure

    def skip(self, why: str, *, by_failure: bool) -> None:
        self.status, self.why, self.by_failure = "skipped", why, by_failure


class TwinRun:
    """One run."""

    def __init__(self, pipeline: PipelineSpec) -> None:
        self._pipeline = pipeline
        self.jobs = {job.id: TwinJob(job) for job in pipeline.jobs}
        self._is_stopped = False
        self._after = self._downstream_of_watchers()
        self.settle()

    @property
    def queue(self) -> list[str]:
        return [name for name, job in self.jobs.items() if job.status == "queued"]

    @property
    def status(self) -> str:
        """Of the run."""
        if not all(job.ended for job in self.jobs.values()):
            return "open"
        if any(job.status == "cancelled" for job in self.jobs.values()):
            return "cancelled"
        return "failed" if any(job.counts for job in self.jobs.values()) else "success"

    def end(self, name: str, status: str) -> None:
        """A job has ended: `status` says how."""
        self.jobs[name].status = status
        self.settle()

    def mark(self, name: str) -> None:
        """A job counts as a success. Unless all have ended, it is decided anew who is skipped."""
        was_open = not all(job.ended for job in self.jobs.values())
        had_ended = self.jobs[name].ended
        self.jobs[name].status = "success"
        if not was_open:
            return
        if had_ended and not self._must_stop():
            self._is_stopped = False
            for job in self.jobs.values():
                if job.status == "skipped" and job.why in ("dependency", "stage", "fail_fast"):
                    job.status = "blocked"
        self.settle()

    def settle(self) -> None:
        """Every rule has been applied until nothing changed."""
        changed = True
        while changed:
            changed = self._stop()
            for job in self.jobs.values():
                if job.status == "blocked":
                    changed |= self._look_at(job)

    def _stop(self) -> bool:
        if self._is_stopped or not self._must_stop():
            return False
        self._is_stopped = True
        for job in self.jobs.values():
            if job.spec.when is When.ON_SUCCESS and job.status in ("blocked", "queued"):
                job.skip("fail_fast", by_failure=True)
        return True

    def _must_stop(self) -> bool:
        counted = any(job.counts for job in self.jobs.values())
        return counted and self._pipeline.on_error is not OnError.CONTINUE

    def _look_at(self, job: TwinJob) -> bool:
        """Whether anything became of a blocked job."""
        needs = [self.jobs[need] for need in job.spec.needs]
        earlier = self._earlier(job)
        is_reached = all(other.ended for other in earlier)
        if job.spec.when is When.ON_SUCCESS:
            bad = [need for need in needs if need.ended and not need.lets_go]
            if bad:
                job.skip("dependency", by_failure=any(need.has_failed for need in bad))
            elif is_reached and any(o.counts or o.status == "cancelled" for o in earlier):
                job.skip("stage", by_failure=any(other.has_failed for other in earlier))
            elif is_reached and all(need.lets_go for need in needs):
                job.status = "queued"
            return job.status != "blocked"
        awaited = [*needs, *earlier]
        if not self._pipeline.stages and not needs:
            awaited = [
                other
                for other in self.jobs.values()
                if other.spec.when is When.ON_SUCCESS and other.spec.id not in self._after
            ]
        if not all(other.ended for other in awaited):
            return False
        if job.spec.when is When.ALWAYS or any(other.has_failed for other in awaited):
            job.status = "queued"
        else:
            job.skip("nothing_failed", by_failure=False)
        return True

    def _earlier(self, job: TwinJob) -> list[TwinJob]:
        stages = list(self._pipeline.stages)
        if not stages:
            return []
        mine = stages.index(job.spec.stage or "")
        return [o for o in self.jobs.values() if stages.index(o.spec.stage or "") < mine]

    def _downstream_of_watchers(self) -> set[str]:
        after = {
            name
            for name, job in self.jobs.items()
            if job.spec.when is not When.ON_SUCCESS and not job.spec.needs
        }
        while True:
            more = {n for n, job in self.jobs.items() if after & set(job.spec.needs)} - after
            if not more:
                return after
            after |= more
