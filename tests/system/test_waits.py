"""Tasks that wait on real daemons, while everything around them is killed."""

from drawbar.document import load
from shared.ids import RunId
from shared.protocol.jobs import SubmitRequest
from shared.protocol.states import RunStatus
from tests.support.cluster import Cluster
from tests.support.history import assert_sound

FLOW = """
from drawbar import Defer, Reschedule, pipeline, task, triggers, xcom
from pathlib import Path

@task
def by_time(n):
    xcom.push("n", n)
    print("sleeps")
    raise Defer(triggers.after("2s"), resume=woken)

def woken(event):
    print("wakes")
    return xcom.pull(key="n")

@task
def by_person():
    raise Defer(triggers.question("Go on?", choices=["yes", "no"]), resume=told)

def told(event):
    return event["choice"]

@task
def by_job():
    raise Defer(triggers.job_ended("by_person"), resume=ended)

def ended(event):
    return event["status"]

@task
def too_late():
    raise Defer(triggers.after("1h"), resume=woken, timeout="1s", on_timeout=gave_up)

def gave_up(event):
    return event["timed_out_after_s"]

with pipeline("p"):
    by_time.map(list(range(20)))
    by_person()
    by_job()
    too_late()
"""


async def test_waits_outlive_the_job_service_and_the_worker(hasty: Cluster) -> None:
    cluster = hasty
    worker = await cluster.start_worker("ann")
    file = cluster.folder / "waits.py"
    file.write_text(FLOW)
    ask = SubmitRequest(idempotency_key="waits", pipeline=load(file).spec)
    run_id = (await cluster.jobs.submit(ask)).run_id
    await cluster.until_event(run_id, "job.deferred", "by_person")

    await cluster.jobstore.kill()
    await worker.kill()
    await cluster.jobstore.start()
    await worker.start()
    await cluster.until_event(run_id, "job.resumed", "too_late")
    await cluster.jobstore.kill()
    await cluster.jobstore.start()
    await _answer(cluster, run_id)
    run = await cluster.until_ended(run_id)
    log = await cluster.run("logs", str(run_id), "by_time[7]", *_at(cluster))

    assert run.status is RunStatus.SUCCESS
    assert log.out.decode().splitlines() == ["sleeps", "Defer: waits for delta", "wakes"]
    assert "[drawbar] deferred at " in log.err
    await assert_sound(cluster, [run_id])


async def _answer(cluster: Cluster, run_id: RunId) -> None:
    asked = await cluster.run("questions", str(run_id), *_at(cluster))
    done = await cluster.run("answer", str(run_id), "by_person", "yes", *_at(cluster))

    assert f"drawbar answer {run_id} by_person yes|no" in asked.out.decode(), asked.err
    assert b"goes on with the answer" in done.out, done.err


def _at(cluster: Cluster) -> tuple[str, str]:
    return ("--server", cluster.env["DRAWBAR_JOBSTORE_URL"])
