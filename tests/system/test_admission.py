"""Who may not come in: wrong secrets and wrong tokens are turned away with a reason (P9, P10)."""

from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from shared.http import wire
from shared.runtime import SystemRuntime
from shared.tokens import Minter, Role
from tests.support.cluster import Cluster
from tests.support.jobstore import a_job
from tests.support.player import Player

WRONG = "a-wrong-secret-of-good-length-0123456789"


async def test_a_worker_with_a_wrong_enrolment_secret_says_so_and_ends(
    cluster: Cluster, tmp_path: Path
) -> None:
    secret = tmp_path / "secret"
    secret.write_text(WRONG)
    worker = cluster.daemon(
        "worker", "--name", "eve", name="eve", DRAWBAR_ENROLMENT_SECRET_FILE=str(secret)
    )

    await worker.start()
    code = await worker.ended()

    lines = [line for line in worker.said().splitlines() if "secret" in line]
    assert code != 0
    assert lines
    assert "Traceback" not in worker.said()
    assert WRONG not in worker.said()
    assert await cluster.find_worker("eve") is None


async def test_a_gateway_that_the_job_service_turns_away_makes_workers_wait(
    cluster: Cluster, tmp_path: Path
) -> None:
    other = Cluster(make(tmp_path / "other"))
    other.gateway = other.daemon(
        *other.gateway.words, "--jobstore", cluster.env["DRAWBAR_JOBSTORE_URL"], name="stranger"
    )
    try:
        await other.registry.start()
        await other.gateway.start()
        player = await Player.enrolled(other)

        answer = await player.claim_raw(wait_s=0.3)

        assert answer.status == 204
        assert answer.headers[wire.REASON] == "jobstore_unavailable"
        assert "gateway.turned_away" in other.gateway.said()
    finally:
        left = await other.end()
    assert not left


async def test_a_token_of_another_installation_opens_nothing(cluster: Cluster) -> None:
    runtime = SystemRuntime()
    foreign = Minter(Ed25519PrivateKey.generate(), runtime).client("eve", Role.ADMIN)

    said = [
        await cluster.run(*words, DRAWBAR_TOKEN=foreign)
        for words in (["runs"], ["workers"], ["cancel", "1"])
    ]

    assert [ended.code for ended in said] == [1, 1, 1]
    assert all(ended.err.startswith("drawbar: ") for ended in said)
    assert not any("Traceback" in ended.err or foreign in ended.err for ended in said)


async def test_garbage_for_a_token_opens_nothing(cluster: Cluster) -> None:
    said = await cluster.run("runs", DRAWBAR_TOKEN="garbage")

    assert said.code == 1
    assert "garbage" not in said.err
    assert "Traceback" not in said.err


async def test_a_viewer_may_look_and_not_touch(cluster: Cluster) -> None:
    run_id = await cluster.submit(a_job("job"))
    token = (await cluster.run("token", "--role", "viewer")).out.decode().strip()

    looked = await cluster.run("show", str(run_id), DRAWBAR_TOKEN=token)
    touched = await cluster.run("cancel", str(run_id), DRAWBAR_TOKEN=token)

    assert looked.code == 0, looked.err
    assert touched.code == 1
    assert "viewer" in touched.err
    assert token not in touched.err
    assert (await cluster.job(run_id, "job")).status == "queued"


def make(folder: Path) -> Path:
    folder.mkdir()
    return folder
