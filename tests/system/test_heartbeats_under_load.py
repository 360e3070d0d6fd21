"""Heartbeats beside everything that keeps a worker busy, with a lease so short that delays show."""

import os

import pytest

from shared.protocol.states import RunStatus
from tests.support.cluster import Cluster
from tests.support.jobstore import a_job

BUSY_S = 12


@pytest.mark.prove
async def test_no_heartbeat_is_late_beside_a_flood_an_upload_and_busy_cores(
    hasty: Cluster,
) -> None:
    await hasty.start_worker("ann", slots=16)
    busy = f"timeout {BUSY_S} sh -c 'while :; do :; done' || true"

    run_id = await hasty.submit(
        a_job("quiet", command=f"sleep {BUSY_S + 5}"),
        a_job("flood", command=f"timeout {BUSY_S} yes $(seq 20) || true"),
        a_job("big", command="head -c 500M /dev/urandom > big", artifacts=["big"]),
        *(a_job(f"hog{n}", command=busy) for n in range(len(os.sched_getaffinity(0)))),
    )
    run = await hasty.until_ended(run_id)

    kinds = {event.kind for event in await hasty.events(run_id)}
    assert run.status is RunStatus.SUCCESS
    assert kinds.isdisjoint({"attempt.late", "attempt.lost"})
