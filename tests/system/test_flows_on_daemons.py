"""Flows on four daemons: the files travel to workers that have never seen them."""

import json

from drawbar.document import load
from shared.protocol.jobs import SubmitRequest
from shared.protocol.states import RunStatus
from tests.support.cluster import Cluster
from tests.support.daemons import processes_with, until
from tests.support.golden import ROOT
from tests.support.history import assert_sound

FLOW = ROOT / "examples" / "flow.py"


async def test_a_flow_runs_on_workers_through_the_gateway(cluster: Cluster) -> None:
    await cluster.start_worker("ann")
    await cluster.start_worker("ben")
    ask = SubmitRequest(idempotency_key="flow", pipeline=load(FLOW, params={"count": "20"}).spec)

    run_id = (await cluster.jobs.submit(ask)).run_id
    run = await cluster.until_ended(run_id)

    assert run.status is RunStatus.SUCCESS
    assert run.counts == {"success": 26, "skipped": 1}
    await assert_sound(cluster, [run_id])


async def test_a_flow_is_run_on_a_server_from_the_command_line(cluster: Cluster) -> None:
    await cluster.start_worker("ann")

    done = await cluster.run(
        "run", str(FLOW), "--server", cluster.env["DRAWBAR_JOBSTORE_URL"], "--json"
    )

    assert json.loads(done.out)["status"] == "success", done.err


async def test_a_task_waits_out_an_outage_of_the_job_service(cluster: Cluster) -> None:
    await cluster.start_worker("ann")
    gate = cluster.gate()
    flow = cluster.folder / "waiting.py"
    flow.write_text(
        "import subprocess\n"
        "from drawbar import pipeline, task, variables\n"
        "@task\n"
        "def go():\n"
        "    variables.set('k', 'before')\n"
        f"    subprocess.run(['sh', '-c', {gate.wait!r}], check=True)\n"
        "    return variables.get('k')\n"
        "with pipeline('p'): go()\n"
    )
    ask = SubmitRequest(idempotency_key="k", pipeline=load(flow).spec)
    run_id = (await cluster.jobs.submit(ask)).run_id
    await cluster.until_event(run_id, "job.running")

    await cluster.jobstore.stop()
    gate.open()
    await cluster.jobstore.start()
    run = await cluster.until_ended(run_id)

    assert run.status is RunStatus.SUCCESS
    await assert_sound(cluster, [run_id])


async def test_a_warm_task_ends_with_its_killed_worker_and_runs_again(hasty: Cluster) -> None:
    cluster = hasty
    worker = await cluster.start_worker("ann")
    gate = cluster.gate()
    flow = cluster.folder / "warm.py"
    flow.write_text(
        "import subprocess, sys\n"
        "from drawbar import pipeline, task\n"
        "@task\n"
        "def first(): return 1\n"
        "@task\n"
        "def second(n):\n"
        "    how = 'warm' if '--serve' in sys.orig_argv else 'cold'\n"
        f"    line = {cluster.trace('HOW')!r}.replace('HOW', how)\n"
        f"    subprocess.run(['sh', '-c', line + '; ' + {gate.wait!r}], check=True)\n"
        "    return n + 1\n"
        "with pipeline('p'): second(first())\n"
    )
    ask = SubmitRequest(idempotency_key="warm", pipeline=load(flow).spec)
    run_id = (await cluster.jobs.submit(ask)).run_id
    await cluster.until_traced(1, "warm")
    ((_, attempt),) = cluster.traces("warm")

    async def is_gone() -> bool:
        return not processes_with("DRAWBAR_ATTEMPT_ID", attempt)

    await worker.kill()
    await until(is_gone, "the task has ended with its worker")
    gate.open()
    await worker.start()
    run = await cluster.until_ended(run_id)

    assert run.status is RunStatus.SUCCESS
    outcomes = [found.outcome for found in await cluster.attempts(run_id, "second")]
    assert outcomes == ["lost", "success"]
    await assert_sound(cluster, [run_id])
