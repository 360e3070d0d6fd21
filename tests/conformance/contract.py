"""What every carrier of the job service's verbs promises, whichever service is behind it.

Subclass once per service and carrier, and supply `carrier`.
"""

import asyncio

import pytest

from shared import errors
from shared.ids import AttemptId, JobId, RunId
from shared.protocol import gateway as g
from shared.protocol import jobs as j
from shared.protocol.jobs import RunFilter
from shared.protocol.pipeline import JobSpec
from shared.protocol.states import AttemptStatus, JobStatus
from tests.support.asks import (
    ANN,
    BEN,
    a_beat,
    a_chunk,
    a_claim,
    a_finish,
    a_pipeline,
    a_run,
    an_entry,
    an_upload,
    body,
    collect,
)
from tests.support.carriers import Carrier

NOWHERE = AttemptId("00000000-0000-7000-8000-000000000000")
BIG = bytes(range(256)) * 1_024  # four pieces


async def submitted(carrier: Carrier, *jobs: JobSpec, key: str = "key") -> RunId:
    ask = j.SubmitRequest(idempotency_key=key, pipeline=a_pipeline(*jobs))
    return (await carrier.jobs.submit(ask)).run_id


async def running(carrier: Carrier, *jobs: JobSpec) -> tuple[RunId, g.Claim]:
    """A run whose first job was claimed and started by ann."""
    run_id = await submitted(carrier, *jobs)
    ann = carrier.gateway(ANN)
    claim = (await ann.claim(a_claim(ANN, "c1"))).claims[0]
    await ann.run(a_run(claim))
    return run_id, claim


class CarrierContract:
    """Each verb, with its answers and its errors."""

    async def test_nothing_to_do_is_said_with_a_reason(self, carrier: Carrier) -> None:
        answer = await carrier.gateway(ANN).claim(a_claim(ANN, "c1"))

        assert answer.claims == ()
        assert answer.reason == "no_job"

    async def test_the_same_claim_id_names_the_same_attempts(self, carrier: Carrier) -> None:
        ann = carrier.gateway(ANN)
        await submitted(carrier)

        first = await ann.claim(a_claim(ANN, "c1"))
        again = await ann.claim(a_claim(ANN, "c1"))

        assert [c.attempt_id for c in again.claims] == [c.attempt_id for c in first.claims]
        assert len(first.claims) == 1

    async def test_a_waiting_claim_is_woken_by_a_submit(self, carrier: Carrier) -> None:
        ann = carrier.gateway(ANN)

        async with asyncio.timeout(5), asyncio.TaskGroup() as group:
            waiting = group.create_task(ann.claim(a_claim(ANN, "c1", wait_s=30)))
            group.create_task(submitted(carrier))

        assert len(waiting.result().claims) == 1

    async def test_a_refused_job_can_be_claimed_by_another_and_cost_no_try(
        self, carrier: Carrier
    ) -> None:
        ann, ben = carrier.gateway(ANN), carrier.gateway(BEN)
        run_id = await submitted(carrier)
        old = (await ann.claim(a_claim(ANN, "c1"))).claims[0]
        no = g.RefuseRequest(
            attempt_id=old.attempt_id, worker_id=ANN, fence=old.fence, reason="registry away"
        )

        await ann.refuse(no)
        await ann.refuse(no)

        new = (await ben.claim(a_claim(BEN, "c2"))).claims[0]
        assert new.fence > old.fence
        assert (await carrier.jobs.show_run(run_id)).jobs[0].tries == 0

    async def test_run_answers_the_same_context_again_and_counts_one_try(
        self, carrier: Carrier
    ) -> None:
        ann = carrier.gateway(ANN)
        run_id = await submitted(carrier, JobSpec(id="ünï ✓", command="echo 'hi'"))
        claim = (await ann.claim(a_claim(ANN, "c1"))).claims[0]

        first = await ann.run(a_run(claim))
        again = await ann.run(a_run(claim))

        assert first.model_copy(update={"token": None}) == again.model_copy(update={"token": None})
        assert first.job_id == "ünï ✓"
        assert first.argv[-1] == "echo 'hi'"
        assert (await carrier.jobs.show_run(run_id)).jobs[0].tries == 1

    async def test_a_refused_attempt_cannot_be_run(self, carrier: Carrier) -> None:
        ann = carrier.gateway(ANN)
        await submitted(carrier)
        claim = (await ann.claim(a_claim(ANN, "c1"))).claims[0]
        await ann.refuse(
            g.RefuseRequest(
                attempt_id=claim.attempt_id, worker_id=ANN, fence=claim.fence, reason="no"
            )
        )

        with pytest.raises((errors.Conflict, errors.Forbidden)):
            await ann.run(a_run(claim))

    async def test_heartbeats_renew_cancel_and_say_what_is_gone(self, carrier: Carrier) -> None:
        ann = carrier.gateway(ANN)
        run_id, claim = await running(carrier)
        nobody = g.LeaseBeat(attempt_id=NOWHERE, fence=1, phase="executing")
        both = g.HeartbeatRequest(worker_id=ANN, leases=(*a_beat(claim).leases, nobody))

        renewed, gone = (await ann.heartbeat(both)).leases
        await carrier.jobs.cancel(j.CancelRequest(run_id=run_id, reason="enough"))
        cancelled = (await ann.heartbeat(a_beat(claim))).leases[0]

        assert renewed.verdict is g.Verdict.RENEWED
        assert gone.verdict is g.Verdict.GONE
        assert gone.attempt_id == NOWHERE
        assert cancelled.verdict is g.Verdict.CANCEL

    async def test_another_workers_attempt_is_out_of_reach(self, carrier: Carrier) -> None:
        ben = carrier.gateway(BEN)
        _, claim = await running(carrier)

        with pytest.raises(errors.Conflict):
            await ben.finish(a_finish(claim, worker=BEN))
        verdict = (await ben.heartbeat(a_beat(claim, BEN))).leases[0]

        assert verdict.verdict is g.Verdict.GONE

    async def test_a_log_goes_on_where_the_server_says(self, carrier: Carrier) -> None:
        ann = carrier.gateway(ANN)
        run_id, claim = await running(carrier)

        with pytest.raises(errors.LogOffsetMismatch) as refused:
            await ann.append_log(a_chunk(claim, b"late", offset=7), body(b"late"))
        first = await ann.append_log(a_chunk(claim, BIG), body(BIG))
        nothing = await ann.append_log(a_chunk(claim, b"", offset=len(BIG)), body(b""))

        assert refused.value.facts["resume_at"] == 0
        assert first.next_offset == nothing.next_offset == len(BIG)
        assert first.attempt_status is AttemptStatus.RUNNING
        log = carrier.jobs.read_log(run_id, JobId("one"), attempt=None, offset=10, follow=False)
        assert await collect(log) == BIG[10:]

    @pytest.mark.parametrize("maker", ["..", "a{b}", "c?d#%2e"])
    async def test_an_artifact_travels_to_the_job_that_needs_it(
        self, carrier: Carrier, maker: str
    ) -> None:
        ann = carrier.gateway(ANN)
        name = "döst/a b%2F#?.bin"
        run_id = await submitted(
            carrier,
            JobSpec(id=maker, command="make", artifacts=("*",)),
            JobSpec(id="use", command="use", needs=(maker,), inputs=(maker,)),
        )
        claim = (await ann.claim(a_claim(ANN, "c1"))).claims[0]
        await ann.run(a_run(claim))
        await ann.put_artifact(an_upload(claim, name, BIG), body(BIG))
        await ann.put_artifact(an_upload(claim, name, BIG), body(BIG))
        await ann.finish(a_finish(claim, artifacts=(an_entry(name, BIG),)))
        user = (await ann.claim(a_claim(ANN, "c2"))).claims[0]
        await ann.run(a_run(user))

        listed = await ann.list_inputs(
            g.InputListRequest(
                attempt_id=user.attempt_id, worker_id=ANN, fence=user.fence, job_id=JobId(maker)
            )
        )
        ask = g.InputRequest(
            attempt_id=user.attempt_id,
            worker_id=ANN,
            fence=user.fence,
            job_id=JobId(maker),
            path=name,
        )
        late = ask.model_copy(update={"offset": len(BIG) - 70_000})

        assert listed.artifacts == (an_entry(name, BIG),)
        assert await collect(ann.read_input(ask)) == BIG
        assert await collect(ann.read_input(late)) == BIG[-70_000:]
        assert await collect(carrier.jobs.read_artifact(run_id, JobId(maker), name)) == BIG
        of_run = await carrier.jobs.list_artifacts(run_id, None)
        assert [a.artifact.path for a in of_run.artifacts] == [name]
        assert (await carrier.jobs.list_artifacts(run_id, JobId("use"))).artifacts == ()

    async def test_an_unknown_artifact_is_an_error_before_any_byte(self, carrier: Carrier) -> None:
        run_id = await submitted(carrier)

        with pytest.raises(errors.UnknownArtifact):
            await collect(carrier.jobs.read_artifact(run_id, JobId("one"), "nothing"))

    async def test_bytes_with_another_hash_are_not_taken(self, carrier: Carrier) -> None:
        ann = carrier.gateway(ANN)
        _, claim = await running(carrier)

        with pytest.raises(errors.BadRequest):
            await ann.put_artifact(an_upload(claim, "a", b"right"), body(b"wrong"))

    async def test_finish_says_what_is_missing_and_then_gives_one_receipt(
        self, carrier: Carrier
    ) -> None:
        ann = carrier.gateway(ANN)
        run_id, claim = await running(carrier)
        log = b"\x00\xff text\n"
        done = a_finish(claim, exit_code=3, log=log, artifacts=(an_entry("a", b"x"),))

        missing = await ann.finish(done)
        await ann.put_artifact(an_upload(claim, "a", b"x"), body(b"x"))
        receipt = await ann.finish(done)
        again = await ann.finish(done)

        assert isinstance(missing, g.Incomplete)
        assert missing.missing_artifacts == ("a",)
        assert isinstance(receipt, g.Receipt)
        assert receipt == again
        assert receipt.job_status is JobStatus.FAILED
        stored = carrier.jobs.read_log(run_id, JobId("one"), attempt=None, offset=0, follow=False)
        assert await collect(stored) == log

    async def test_another_result_for_a_settled_attempt_is_refused(self, carrier: Carrier) -> None:
        ann = carrier.gateway(ANN)
        _, claim = await running(carrier)
        await ann.finish(a_finish(claim, exit_code=0))

        with pytest.raises(errors.ResultConflict):
            await ann.finish(a_finish(claim, exit_code=1))

    async def test_the_same_key_names_the_same_run(self, carrier: Carrier) -> None:
        first = await submitted(carrier, key="k1")
        again = await submitted(carrier, key="k1")
        other = await submitted(carrier, key="k2")

        with pytest.raises(errors.KeyReused):
            await submitted(carrier, JobSpec(id="two", command="true"), key="k1")

        assert first == again
        assert other != first
        newest = await carrier.jobs.list_runs(RunFilter(limit=1))
        assert [run.run_id for run in newest.runs] == [other]

    async def test_a_retry_is_a_new_run(self, carrier: Carrier) -> None:
        run_id = await submitted(carrier)
        await carrier.jobs.cancel(j.CancelRequest(run_id=run_id))
        ask = j.RetryRequest(idempotency_key="again", run_id=run_id, failed_only=False)

        assert (await carrier.jobs.retry(ask)).run_id != run_id

    async def test_an_approved_job_may_be_claimed_and_a_refused_one_is_cancelled(
        self, carrier: Carrier
    ) -> None:
        jobs, ann = carrier.jobs, carrier.gateway(ANN)
        pipeline = a_pipeline(
            *(JobSpec(id=name, command="true", approve=True) for name in ("one", "two"))
        )
        ask = j.SubmitRequest(idempotency_key="held", pipeline=pipeline)
        run_id = (await jobs.submit(ask)).run_id
        before = (await ann.claim(a_claim(ANN, "before"))).claims

        one = j.ApproveRequest(run_id=run_id, job_id=JobId("one"), by="ann")
        await jobs.approve(one)
        two = j.ApproveRequest(run_id=run_id, job_id=JobId("two"), by="ann", is_granted=False)
        await jobs.approve(two)
        claims = (await ann.claim(a_claim(ANN, "after", slots=2))).claims

        assert before == ()
        assert [claim.job_id for claim in claims] == ["one"]
        assert (await jobs.show_run(run_id)).jobs[1].status is JobStatus.CANCELLED
        with pytest.raises(errors.Conflict):
            await jobs.approve(one.model_copy(update={"is_granted": False}))

    async def test_a_marked_job_is_a_success_unless_a_worker_has_it(self, carrier: Carrier) -> None:
        jobs, ann = carrier.jobs, carrier.gateway(ANN)
        pipeline = a_pipeline(*(JobSpec(id=name, command="true") for name in ("one", "two")))
        ask = j.SubmitRequest(idempotency_key="marked", pipeline=pipeline)
        run_id = (await jobs.submit(ask)).run_id
        await ann.claim(a_claim(ANN, "one"))

        two = j.MarkRequest(run_id=run_id, job_id=JobId("two"), by="ann")
        await jobs.mark(two)
        await jobs.mark(two)

        assert (await jobs.show_run(run_id)).jobs[1].status is JobStatus.SUCCESS
        with pytest.raises(errors.Conflict):
            await jobs.mark(j.MarkRequest(run_id=run_id, job_id=JobId("one"), by="ann"))

    async def test_unknown_runs_and_jobs_are_named_as_such(self, carrier: Carrier) -> None:
        run_id = await submitted(carrier)
        jobs = carrier.jobs

        with pytest.raises(errors.UnknownRun):
            await jobs.show_run(RunId(999))
        with pytest.raises(errors.UnknownRun):
            await jobs.cancel(j.CancelRequest(run_id=RunId(999)))
        with pytest.raises(errors.UnknownRun):
            await jobs.mark(j.MarkRequest(run_id=RunId(999), job_id=JobId("one"), by="ann"))
        with pytest.raises(errors.UnknownRun):
            await anext(aiter(jobs.follow_events(RunId(999), after=0)))
        with pytest.raises(errors.UnknownJob):
            await jobs.list_attempts(run_id, JobId("no such"))
        for follow in (False, True):
            with pytest.raises(errors.UnknownJob):
                await collect(
                    jobs.read_log(run_id, JobId("no"), attempt=None, offset=0, follow=follow)
                )

    async def test_events_are_numbered_and_followed_to_the_end(self, carrier: Carrier) -> None:
        ann = carrier.gateway(ANN)
        run_id = await submitted(carrier)

        async def follow() -> list[j.Event]:
            return [event async for event in carrier.jobs.follow_events(run_id, after=0)]

        async with asyncio.timeout(10), asyncio.TaskGroup() as group:
            followed = group.create_task(follow())
            claim = (await ann.claim(a_claim(ANN, "c1"))).claims[0]
            await ann.run(a_run(claim))
            await ann.finish(a_finish(claim))
        listed = (await carrier.jobs.list_events(run_id, after=0, limit=1_000)).events
        later = await carrier.jobs.list_events(run_id, after=listed[0].seq, limit=1)

        assert tuple(followed.result()) == listed
        assert [e.seq for e in listed] == sorted({e.seq for e in listed})
        assert later.events == listed[1:2]

    async def test_a_followed_log_ends_with_its_job(self, carrier: Carrier) -> None:
        ann = carrier.gateway(ANN)
        run_id, claim = await running(carrier)
        await ann.append_log(a_chunk(claim, BIG), body(BIG))

        async with asyncio.timeout(10), asyncio.TaskGroup() as group:
            log = carrier.jobs.read_log(
                run_id, JobId("one"), attempt=claim.attempt_id, offset=0, follow=True
            )
            followed = group.create_task(collect(log))
            await ann.finish(a_finish(claim, log=BIG + b"end", tail_offset=len(BIG)))

        assert followed.result() == BIG + b"end"
