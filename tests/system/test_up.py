"""`drawbar up`, a second worker that joins it over HTTP, and what people type against it."""

import asyncio
import json
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from shared.ids import RunId
from tests.support.cluster import Cluster
from tests.support.daemons import DRAWBAR, Finished, Port, until

PIPELINE = """
name: release
jobs:
  - {id: compile, command: "mkdir -p dist; printf wheel > dist/app.whl; echo compiled",
     artifacts: [dist/*]}
  - {id: smoke, needs: [compile], inputs: [compile], command: "cat dist/app.whl; exit 3"}
  - {id: deploy, needs: [smoke], command: "true"}
"""


class Installation(Cluster):
    """All services and a worker in one process, and room for more workers."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.block = Port(3)
        gateway, registry, jobstore = (
            f"http://127.0.0.1:{self.block.number + n}" for n in range(3)
        )
        self.env |= {
            "DRAWBAR_GATEWAY_URL": gateway,
            "DRAWBAR_REGISTRY_URL": registry,
            "DRAWBAR_JOBSTORE_URL": jobstore,
        }
        self.connect()
        words = ["up", "--port-base", str(self.block.number), "--slots", "2"]
        self.up = self.daemon(*words, name="up")
        self.up.url = jobstore

    async def json(self, *words: str) -> Any:
        return json.loads((await self.done(*words, "--json")).out)

    async def done(self, *words: str) -> Finished:
        """The command succeeded."""
        ended = await self.run(*words)
        assert ended.code == 0, ended.err
        return ended

    async def submit_file(self, text: str) -> RunId:
        (self.work / "pipeline.yaml").write_text(text)
        run_id: RunId = (await self.json("submit", "pipeline.yaml"))["run_id"]
        return run_id


@pytest.fixture
async def here(tmp_path: Path) -> AsyncIterator[Installation]:
    installation = Installation(tmp_path)
    try:
        await installation.up.start()
        yield installation
    finally:
        left = await installation.end()
        installation.block.close()
        installation.print_logs()
    assert not left


async def test_what_was_submitted_can_be_looked_at_in_every_way(here: Installation) -> None:
    run_id = await here.submit_file(PIPELINE)
    await here.until_ended(run_id)
    run = str(run_id)

    shown, runs, events, artifacts = await asyncio.gather(
        here.json("show", run),
        here.json("runs"),
        here.done("events", run, "--follow", "--json"),
        here.json("artifacts", run),
    )
    log, fetched, table = await asyncio.gather(
        here.done("logs", run, "smoke", "--follow"),
        here.done("artifacts", run, "compile", "--get", "dist/app.whl"),
        here.done("show", run),
    )

    assert set(shown) == {
        *("run_id", "name", "status", "exit_code", "started_at", "ended_at", "counts", "jobs")
    }
    assert (shown["run_id"], shown["name"], shown["status"]) == (run_id, "release", "failed")
    assert shown["exit_code"] == 1
    assert shown["counts"] == {"success": 1, "failed": 1, "skipped": 1}
    assert [set(job) for job in shown["jobs"]] == 3 * [
        {
            *("id", "stage", "status", "exit_code", "reason", "tries", "attempts"),
            *("started_at", "ended_at"),
        }
    ]
    assert [(j["id"], j["status"], j["exit_code"], j["tries"]) for j in shown["jobs"]] == [
        ("compile", "success", 0, 1),
        ("smoke", "failed", 3, 1),
        ("deploy", "skipped", None, 0),
    ]
    assert [listed["run_id"] for listed in runs] == [run_id]
    kinds = [json.loads(line)["kind"] for line in events.out.splitlines()]
    assert kinds[0] == "run.submitted"
    assert kinds[-1] == "run.failed"
    assert kinds.count("job.running") == 2
    assert [found["artifact"]["path"] for found in artifacts] == ["dist/app.whl"]
    assert (log.out, fetched.out) == (b"wheel", b"wheel")
    assert b"smoke" in table.out


async def test_a_followed_log_shows_lines_while_the_job_runs(here: Installation) -> None:
    gate = here.gate()
    command = json.dumps(f"echo first; {gate.wait}; echo last")
    run_id = await here.submit_file(f"name: slow\njobs: [{{id: slow, command: {command}}}]")
    following = await asyncio.create_subprocess_exec(
        *(DRAWBAR, "logs", str(run_id), "slow", "--follow"),
        env=here.env,
        stdout=asyncio.subprocess.PIPE,
    )
    assert following.stdout is not None

    try:
        async with asyncio.timeout(20):
            first = await following.stdout.readline()
            gate.open()
            rest, _ = await following.communicate()
    finally:
        if following.returncode is None:
            following.kill()
            await following.wait()

    assert (first, rest, following.returncode) == (b"first\n", b"last\n", 0)


async def test_a_run_is_cancelled_and_tried_again(here: Installation) -> None:
    gate = here.gate()
    command = json.dumps(f"{here.trace()}; {gate.wait}")
    run_id = await here.submit_file(
        f"name: n\njobs: [{{id: quick, command: 'true'}}, {{id: slow, command: {command}}}]"
    )
    await here.until_traced(1)
    await here.until_event(run_id, "job.success", "quick")

    await here.done("cancel", str(run_id), "--reason", "wrong branch")
    cancelled = await here.until_ended(run_id)
    processes = here.job_processes()
    gate.open()
    again: RunId = (await here.json("retry", str(run_id), "--failed-only"))["run_id"]
    retried = await here.until_ended(again)

    assert (cancelled.status, retried.status) == ("cancelled", "success")
    assert processes == {}
    assert {job.id: job.attempts for job in retried.jobs} == {"quick": 0, "slow": 1}
    assert retried.retry_of == run_id


async def test_a_second_worker_joins_over_http_and_gets_jobs(here: Installation) -> None:
    await here.start_worker("ben", "--label", "disk=fast")
    gate = here.gate()
    command = json.dumps(f"{here.trace()}; {gate.wait}")
    jobs = ", ".join(f"{{id: job-{n}, command: {command}}}" for n in range(4))
    fast = "{id: fast, command: 'true', requires: {disk: fast}}"

    run_id = await here.submit_file(f"name: wide\njobs: [{jobs}, {fast}]")
    await here.until_traced(4)
    gate.open()
    run = await here.until_ended(run_id)

    names = {w["worker_id"]: w["name"] for w in await here.json("workers")}
    ran = [names[(await here.attempts(run_id, job.id))[0].worker_id] for job in run.jobs]
    assert run.status == "success"
    assert ran[-1] == "ben"
    assert len(set(ran)) == 2  # `up` has two slots, so four at a time need both workers


async def test_up_lets_jobs_end_when_told_to_stop(here: Installation) -> None:
    gate = here.gate()
    run_id = await here.submit_file(
        f"name: n\njobs: [{{id: job, command: {json.dumps(f'{here.trace()}; {gate.wait}')}}}]"
    )
    await here.until_traced(1)

    here.up.send(signal.SIGTERM)
    gate.open()
    code = await here.up.ended()
    await here.up.start()
    run = await here.until_ended(run_id)

    assert code == 0
    assert run.status == "success"
    assert len(here.traces()) == 1


async def test_a_second_signal_ends_up_at_once_and_no_process_is_left(here: Installation) -> None:
    command = f"(trap '' TERM; sleep 600) & trap '' TERM; {here.trace()}; sleep 600"
    await here.submit_file(f"name: n\njobs: [{{id: job, command: {json.dumps(command)}}}]")
    await here.until_traced(1)

    async def is_draining() -> bool:
        return any(w.status == "draining" for w in (await here.operator.list_workers()).workers)

    here.up.send(signal.SIGTERM)
    await until(is_draining, "the worker drains")
    here.up.send(signal.SIGTERM)
    code = await here.up.ended()

    assert code == 1
    assert "Traceback" not in here.up.said()
    assert here.processes() == {}


async def test_up_goes_on_after_a_crash_where_it_was(here: Installation) -> None:
    gate = here.gate()
    command = json.dumps(f"{here.trace()}; {gate.wait}")
    run_id = await here.submit_file(
        f"name: n\njobs: [{{id: quick, command: 'true'}}, "
        f"{{id: held, requires: {{never: here}}, command: 'true'}}, "
        f"{{id: slow, command: {command}}}]"
    )
    await here.until_traced(1)
    await here.until_event(run_id, "job.success", "quick")
    orphans = set(here.job_processes())

    await here.up.kill()
    await here.up.start()
    left = orphans & set(here.job_processes())
    run = await here.jobs.show_run(run_id)

    assert orphans
    assert not left
    assert [(job.id, job.status) for job in run.jobs] == [
        ("quick", "success"),
        ("held", "queued"),
        ("slow", "running"),
    ]
    await here.done("cancel", str(run_id))


async def test_a_run_on_the_server_is_watched_and_its_end_is_the_exit_code(
    here: Installation,
) -> None:
    (here.work / "pipeline.yaml").write_text(PIPELINE)

    ended = await here.run(
        "run", "pipeline.yaml", "--server", here.env["DRAWBAR_JOBSTORE_URL"], "--json"
    )

    assert ended.code == 1
    assert json.loads(ended.out)["counts"] == {"success": 1, "failed": 1, "skipped": 1}


async def test_each_worker_has_its_own_rule_for_jobs_with_an_image(here: Installation) -> None:
    text = "name: staged\njobs: [{id: a, image: 'debian:12', script: [echo ran], requires: {%s}}]\n"

    careful = await here.submit_file(text % "")
    await here.until_ended(careful)
    await here.start_worker("ben", "--images", "ignore", "--label", "spare=yes")
    easy = await here.submit_file(text % "spare: 'yes'")
    await here.until_ended(easy)
    refused, ran = await asyncio.gather(
        here.json("show", str(careful)), here.json("show", str(easy))
    )

    assert "--images ignore runs such jobs" in refused["jobs"][0]["reason"]["message"]
    assert (refused["status"], ran["status"]) == ("failed", "success")
