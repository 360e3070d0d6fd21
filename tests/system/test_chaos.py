"""`drawbar chaos` on real daemons: storms that break nothing, and builds that do break."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.chaos import run_chaos
from tests.support.cluster import Cluster
from tests.support.daemons import DRAWBAR, processes_with

STORM: dict[str, Any] = {
    "name": "a-minute",
    "seed": 5,
    "duration_s": 60,
    "targets": {"workers": 2, "slots": 4, "lease_s": 2},
    "workload": {"jobs": 80, "seconds": 1.5, "submit_within": 0.9, "bad_input_every": 0.5},
    "steps": [
        {"what": "kill", "target": "service", "every": 6, "jitter": 0.3},
        {"what": "kill", "target": "worker", "every": 15},
        {"what": "restart", "target": "gateway", "every": 20},
        {"what": "sigstop", "target": "worker-0", "every": 12, "for_s": 2.5},
        {
            "what": "network",
            "hop": "worker-gateway",
            "at": 1,
            "for_s": 50,
            "faults": [{"kind": "lost_response", "probability": 0.1}, {"kind": "latency"}],
        },
        {
            "what": "points",
            "target": "jobstore",
            "at": 1,
            "for_s": 10,
            "faults": [{"at": "jobstore.finish.before_reply", "action": "kill", "times": 1}],
        },
    ],
    "expect": ["P1", "P2", "P3", "P4", "P8", "P9", "P10"],
}

WEAR: dict[str, Any] = {
    "name": "wear",
    "duration_s": 8,
    "steady_state": {"drained_within_s": 20},
    "targets": {"workers": 2, "lease_s": 2},
    "workload": {"jobs": 40, "kinds": {"quick": 1, "slow": 1, "chatty": 1, "failing": 1}},
    "steps": [
        {"what": "kill", "target": "jobstore", "every": 1.5, "down_s": 0.5},
        {"what": "kill", "target": "worker", "every": 4},
        {"what": "sigstop", "target": "worker", "every": 3, "for_s": 3},
    ],
}


# Commits take long, so that a crash falls between an answer and its commit, if there is such a gap.
SLOW_COMMITS: dict[str, Any] = {
    **WEAR,
    "workload": {"jobs": 60, "kinds": {"quick": 1}, "submit_within": 1},
    "steps": [
        {"what": "sigstop", "target": "worker", "every": 3, "for_s": 0.5},
        {"what": "kill", "target": "jobstore", "every": 2, "jitter": 0.5},
        {
            "what": "points",
            "target": "jobstore",
            "at": 0,
            "for_s": 8,
            "faults": [{"at": "jobstore.store.before_commit", "action": "delay", "seconds": 0.2}],
        },
    ],
}


@pytest.mark.timeout(240)
async def test_a_minute_of_several_kinds_of_faults_loses_nothing(tmp_path: Path) -> None:
    chaos = await run_chaos(tmp_path, STORM)

    assert chaos.code == 0, chaos.text
    assert set(chaos.told["faults"]) == {"kill", "restart", "sigstop", "network", "points"}
    assert chaos.told["proxy_strikes"] > 0
    assert chaos.told["jobs"] == 80
    assert not chaos.breaches
    assert "<svg" in (chaos.folder / "timeline.html").read_text()
    assert (chaos.folder / "history.jsonl").read_text().count("\n") > 200
    assert not processes_with("TMPDIR", str(chaos.folder / "tmp"))


async def test_a_cluster_that_others_started_is_judged_and_left_as_it_was(
    tmp_path: Path, cluster: Cluster
) -> None:
    gateway = cluster.services["gateway"]
    await gateway.kill()
    gateway.words.append("--allow-faults")
    await gateway.start()
    worker = await cluster.start_worker("ann")
    network = {"what": "network", "hop": "people-jobstore", "at": 0, "for_s": 1}
    network["faults"] = [{"kind": "lost_response", "probability": 0.5}]
    points = {"what": "points", "target": "gateway", "at": 0, "for_s": 1}
    points["faults"] = [{"at": "gateway.finish.received", "action": "duplicate"}]
    plan = {
        "name": "attached",
        "duration_s": 1.5,
        "workload": {"jobs": 10},
        "steps": [network, points, {"what": "kill", "target": "worker", "at": 0.5}],
        "expect": ["P1", "P2"],
    }
    (tmp_path / "chaos").mkdir()

    urls = [
        word
        for name in ("gateway", "registry", "jobstore")
        for word in (f"--{name}", cluster.env[f"DRAWBAR_{name.upper()}_URL"])
    ]
    chaos = await run_chaos(tmp_path / "chaos", plan, *urls, "--data", str(cluster.data))

    assert chaos.code == 0, chaos.text
    assert chaos.told["jobs"] == 10
    assert "kill of worker" in chaos.told["skipped"]
    assert worker.is_alive
    assert chaos.told["point_strikes"] > 0
    words = {v["promise"]: v["verdict"] for v in chaos.told["verdicts"]}
    assert (words["P2"], words["P3"], words["P4"]) == ("kept", "not judged", "not judged")


@pytest.mark.prove
async def test_a_chaos_that_is_told_to_end_leaves_nothing_running(tmp_path: Path) -> None:
    (tmp_path / "plan.yaml").write_text(yaml.safe_dump(STORM))
    kept = tmp_path / "kept"
    words = ("chaos", str(tmp_path / "plan.yaml"), "--keep", str(kept))
    process = await asyncio.create_subprocess_exec(DRAWBAR, *words, stderr=asyncio.subprocess.PIPE)
    assert process.stderr is not None
    steady = await process.stderr.readline()
    running = processes_with("TMPDIR", str(kept / "tmp"))

    process.terminate()
    await process.communicate()

    assert steady.startswith(b"steady")
    assert len(running) >= 5
    assert process.returncode == 130
    assert not processes_with("TMPDIR", str(kept / "tmp"))


@pytest.mark.prove
@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("daemon", "mutant", "promise"),
    [
        ("jobstore", "fence_not_raised", "P1"),  # it gets stuck on the job
        ("worker", "start_without_the_registry", "P4"),
        ("worker", "failure_reported_as_success", "P2"),
        ("worker", "log_left_behind", "P7"),
        ("gateway", "gateway_makes_up_a_receipt", "P3"),
    ],
)
async def test_a_build_with_a_bug_breaks_its_promise(
    tmp_path: Path, daemon: str, mutant: str, promise: str
) -> None:
    chaos = await run_chaos(tmp_path, WEAR, mutant=(daemon, mutant))

    assert chaos.code == 1
    assert promise in chaos.breaches, chaos.text


@pytest.mark.prove
@pytest.mark.timeout(300)
async def test_an_answer_before_its_commit_is_found_and_the_usual_build_is_sound(
    tmp_path: Path,
) -> None:
    for name in ("broken", "sound"):
        (tmp_path / name).mkdir()

    bug = ("jobstore", "reply_before_commit")
    broken = await run_chaos(tmp_path / "broken", SLOW_COMMITS, mutant=bug)
    sound = await run_chaos(tmp_path / "sound", SLOW_COMMITS)

    assert {"P1", "P2", "P3"} & set(broken.breaches), broken.text
    assert not sound.breaches, sound.text


@pytest.mark.prove
@pytest.mark.timeout(600)
async def test_minimizing_finds_that_a_bug_needs_no_faults_at_all(tmp_path: Path) -> None:
    chaos = await run_chaos(
        tmp_path, WEAR, "--minimize", mutant=("worker", "failure_reported_as_success")
    )

    smaller = yaml.safe_load((chaos.folder / "minimized.yaml").read_text())
    assert chaos.code == 1
    assert smaller.get("steps", []) == []


@pytest.mark.prove
@pytest.mark.timeout(900)
async def test_minimizing_keeps_the_crash_that_a_bug_needs(tmp_path: Path) -> None:
    bug = ("jobstore", "reply_before_commit")
    chaos = await run_chaos(tmp_path, SLOW_COMMITS, "--minimize", mutant=bug)

    smaller = yaml.safe_load((chaos.folder / "minimized.yaml").read_text())
    assert chaos.code == 1
    assert [step["what"] for step in smaller["steps"]] == ["kill", "points"]


@pytest.mark.prove
@pytest.mark.timeout(900)
async def test_ten_minutes_of_faults_lose_nothing_and_accept_nothing_twice(tmp_path: Path) -> None:
    plan = {
        "name": "ten-minutes",
        "duration_s": 600,
        "targets": {"workers": 5, "slots": 4, "lease_s": 3, "disk_mb": 2_048},
        "workload": {"jobs": 5_000, "jobs_per_run": 10, "submit_within": 0.95,
                     "bad_input_every": 0.5},
        "steady_state": {"drained_within_s": 120},
        "steps": [
            {"what": "kill", "target": "service", "every": 15, "jitter": 3, "down_s": 0.5},
            {"what": "kill", "target": "worker", "every": 10, "jitter": 3},
            {"what": "restart", "target": "any", "every": 40, "jitter": 10},
            {"what": "sigstop", "target": "any", "every": 20, "jitter": 5, "for_s": 4},
            {"what": "network", "hop": "worker-gateway", "every": 20, "for_s": 5,
             "faults": [{"kind": "lost_response", "probability": 0.05}]},
            {"what": "network", "hop": "worker-registry", "every": 30, "for_s": 3,
             "faults": [{"kind": "partition"}]},
            {"what": "network", "hop": "gateway-jobstore", "every": 25, "for_s": 2,
             "faults": [{"kind": "reset_peer", "after_s": 0.2, "probability": 0.5}]},
            {"what": "network", "hop": "people-jobstore", "every": 10, "for_s": 2,
             "faults": [{"kind": "lost_response", "probability": 0.3}]},
            {"what": "points", "target": "jobstore", "every": 30, "for_s": 5,
             "faults": [{"at": "jobstore.store.after_commit", "action": "kill",
                         "probability": 0.05, "times": 1}]},
            {"what": "disk_full", "every": 120, "for_s": 2},
        ],
        "abort": {"no_progress_s": 120},
        "expect": ["P1", "P2", "P3", "P4", "P5", "P6", "P7", "P8", "P9", "P10"],
    }  # fmt: skip

    chaos = await run_chaos(tmp_path, plan)

    assert chaos.code == 0, chaos.text
    assert chaos.told["jobs"] == 5_000
    assert sum(chaos.told["faults"].values()) >= 200


@pytest.mark.prove
@pytest.mark.timeout(900)
async def test_a_thousand_real_crashes_lose_nothing(tmp_path: Path) -> None:
    plan = {
        "name": "a-thousand-crashes",
        "duration_s": 460,  # seven crashes in 3 s, at half a second of a processor for each start
        "targets": {"workers": 4, "slots": 4, "lease_s": 3},
        "workload": {"jobs": 200, "submit_within": 0.95},
        "steady_state": {"drained_within_s": 180},
        "steps": [{"what": "kill", "target": name, "every": 3, "at": at}
                  for name, at in (("jobstore", 1), ("gateway", 1.5), ("registry", 2),
                                   ("worker-0", 2.5), ("worker-1", 2.8), ("worker-2", 3.1),
                                   ("worker-3", 3.4))],
        "expect": ["P1", "P2", "P3", "P4", "P7", "P8"],
    }  # fmt: skip

    chaos = await run_chaos(tmp_path, plan)

    assert chaos.code == 0, chaos.text
    assert chaos.told["faults"]["kill"] >= 1_000
