"""schemathesis as a process, against the real services of a cluster that has something in it.

What the document promises is tried with every check that there is, by an admin and by a worker
that holds live attempts.
"""

import asyncio
import json
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from shared.http.wire import WISHES
from shared.keys import load_keys
from shared.protocol.gateway import ClaimRequest, RunRequest
from shared.protocol.registry import EnrolRequest, StatusReport
from shared.protocol.states import WorkerStatus
from shared.runtime import SystemRuntime
from shared.tokens import Minter, Role
from tests.support.cluster import Cluster
from tests.support.jobstore import a_job

ST: Final = Path(sys.executable).with_name("st")
HOOKS: Final = Path(__file__).with_name("api_hooks.py")
# Operations with rules between fields, which no schema can say: what fits it may be refused.
RULED: Final = {
    "gateway": ["append_log", "put_artifact", "finish", "get_xcom"],
    "registry": [
        *(f"wish_{desired}" for desired in WISHES.values()),
        "set_worker",
        "report",
    ],
    "jobstore": [
        *("append_log", "put_artifact", "finish"),
        *("submit", "put_schedule", "backfill", "put_variable", "put_connection", "answer"),
    ],
}
# Whole pipelines: the boundaries of every field, each with each, take minutes.
PIPELINES: Final = ["submit", "put_schedule"]
ROOT: Final = Path(__file__).parent.parent.parent


@dataclass(frozen=True)
class Verdict:
    """What schemathesis said of one service."""

    requests: int
    is_clean: bool
    said: str


@dataclass(frozen=True)
class Cast:
    """Who asks, and of what: tokens by the key that they are, and ids that exist."""

    tokens: dict[str, dict[str, str]]  # by service
    known: dict[str, list[str | int]]  # by the parameter that they are for


async def furnish(cluster: Cluster) -> Cast:
    """The services have a run with jobs, attempts in several states, a worker and values."""
    keys = load_keys(cluster.data / "keys", SystemRuntime())
    minter = Minter(keys.signing, SystemRuntime())
    run_id = await cluster.submit(*(a_job(f"job-{n}") for n in range(6)), key="known")
    registry, gateway = cluster.as_worker()
    enrolled = await registry.enrol(
        EnrolRequest(name="ann", host="here", pid=1, version="1", labels={}, slots=4)
    )
    await registry.report(
        StatusReport(
            worker_id=enrolled.worker_id,
            incarnation=enrolled.incarnation,
            status=WorkerStatus.WORKING,
            attempts=(),
            free_slots=4,
        )
    )
    found = await gateway.claim(
        ClaimRequest(
            claim_id="first", worker_id=enrolled.worker_id, labels={}, free_slots=3, wait_s=1.0
        )
    )
    one, two, three = (claim.attempt_id for claim in found.claims)
    contexts = [
        await gateway.run(
            RunRequest(
                attempt_id=claim.attempt_id,
                worker_id=enrolled.worker_id,
                fence=claim.fence,
                host="here",
                pid=1,
            )
        )
        for claim in found.claims[:2]
    ]
    admin = minter.client("ann", Role.ADMIN)
    worker = minter.worker(enrolled.worker_id)
    task = contexts[0].token
    assert task is not None
    return Cast(
        tokens={
            "gateway": {"worker": worker, "task": task},
            "registry": {"person": admin, "worker": worker, "enrolment": keys.enrolment_secret},
            "jobstore": {"person": admin, "worker": minter.service("gateway")},
        },
        known={
            "run_id": [run_id],
            "before": [run_id],
            "after": [run_id],
            "job_id": [f"job-{n}" for n in range(6)],
            "job": ["-", "job-0"],
            "attempt_id": [one, two, three],
            "worker_id": [enrolled.worker_id],
            "name": ["ann", "test"],
            "Drawbar-Worker": [enrolled.worker_id],
            "Drawbar-Fence": ["1"],
            "Content-Range": ["bytes 0-4/*", "bytes */0", "bytes 0-4/5", "bytes 5-9/*"],
        },
    )


async def try_out(
    service: str,
    url: str,
    cast: Cast,
    folder: Path,
    *,
    examples: int,
    seed: int = 0,
    is_thorough: bool = False,
) -> Verdict:
    """Every operation of the service was tried with `examples` generated requests and more."""
    config = folder / f"{service}.toml"
    config.write_text(_config(service, cast, examples, is_thorough))
    process = await asyncio.create_subprocess_exec(
        ST,
        f"--config-file={config}",
        "run",
        f"{url}/openapi.json",
        "--checks=all",
        "--exclude-path=/v1/line",  # it is no request that gets a reply, but a WebSocket
        "--continue-on-failure",
        "--request-timeout=20",
        "--phases=coverage,fuzzing",
        "--warnings=off",
        "--no-color",
        f"--seed={seed}",
        cwd=ROOT,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    said = (await process.communicate())[0].decode()
    found = re.search(r"([0-9]+) generated", said)
    return Verdict(int(found[1]) if found else 0, process.returncode == 0, said)


def _config(service: str, cast: Cast, examples: int, is_thorough: bool) -> str:
    """As TOML, whose values are written as JSON's are."""
    lines = [f"hooks = {json.dumps(str(HOOKS))}", "[auth.openapi]"]
    for key, token in cast.tokens[service].items():
        lines.append(f"{key} = {{ bearer = {json.dumps(token)} }}")
    lines += ["[generation]", f"max-examples = {examples}", "no-shrink = true"]
    lines += ['database = "none"']
    for name, values in cast.known.items():
        lines += [f"[dictionaries.{json.dumps(name)}]", f"values = {json.dumps(values)}"]
    lines.append("[parameters]")
    for name in cast.known:
        bound = f"{{ dictionary = {json.dumps(name)}, probability = 0.6 }}"
        lines.append(f"{json.dumps(name)} = {bound}")
    if RULED[service]:
        lines += [
            "[[operations]]",
            f"include-operation-id = {json.dumps(RULED[service])}",
            "[operations.checks.positive_data_acceptance]",
            f"expected-statuses = {json.dumps(['2xx', '400', '403', '404', '409', '413', '422'])}",
        ]
    if service == "jobstore" and not is_thorough:
        lines += [
            "[[operations]]",
            f"include-operation-id = {json.dumps(PIPELINES)}",
            "phases.coverage.enabled = false",
            "generation.max-examples = 1",
        ]
    return "\n".join(lines) + "\n"


def url_of(cluster: Cluster, service: str) -> str:
    url = cluster.services[service].url
    assert url is not None
    return url
