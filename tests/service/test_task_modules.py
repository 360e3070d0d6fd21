"""Where a task's modules come from: its flow's files, and from nowhere else by mistake."""

import pytest

from shared.protocol.gateway import Outcome
from tests.support.tasks import RETURNED, TaskStage
from worker.ports import CannotStart

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("name", ["shared", "worker", "json", "drawbar"])
async def test_a_flow_may_be_called_like_our_own_modules(stage: TaskStage, name: str) -> None:
    text = "@task\ndef go(): return __file__\nwith pipeline('p'): go()\n"

    await stage.run(stage.spec_of(text, name=f"{name}.py"))

    assert str(stage.execution.xcoms[RETURNED]).endswith(f"/{name}.py")


@pytest.mark.parametrize("name", ["shared", "worker", "jobstore"])
async def test_modules_of_a_flow_win_over_ours(stage: TaskStage, name: str) -> None:
    home = stage.folder / "flow"
    home.mkdir()
    (home / f"{name}.py").write_text("MINE = 1\n")

    await stage.run_flow(f"""
        import {name}
        @task
        def go(): return {name}.MINE
        with pipeline("p"): go()
    """)

    assert stage.execution.xcoms[RETURNED] == 1


async def test_the_working_directory_is_no_place_for_modules(stage: TaskStage) -> None:
    (stage.cwd / "drawbar.py").write_text("raise SystemExit(9)\n")
    (stage.cwd / "json.py").write_text("raise SystemExit(9)\n")

    ended = await stage.run_body("import json, drawbar; return 1")

    assert ended.result.outcome is Outcome.EXITED


async def test_modules_are_also_found_where_the_job_says(stage: TaskStage) -> None:
    (stage.folder / "lib").mkdir()
    (stage.folder / "lib" / "extra_module.py").write_text("X = 3\n")

    await stage.run_body(
        "import extra_module; return extra_module.X",
        env={"PYTHONPATH": str(stage.folder / "lib")},
    )

    assert stage.execution.xcoms[RETURNED] == 3


# -- bundles ------------------------------------------------------------------------------------


async def test_files_are_fetched_once_and_cannot_be_changed(stage: TaskStage) -> None:
    body = """
        import os
        assert not os.access(context.folder, os.W_OK) or os.getuid() == 0
        return sorted(p.name for p in context.folder.glob('*.py'))
    """

    await stage.run_body(body)
    await stage.run_body(body)

    assert stage.execution.asked.count("read_bundle") == 1
    assert stage.execution.xcoms[RETURNED] == ["flow.py"]


async def test_files_that_are_not_there_are_named(stage: TaskStage) -> None:
    spec = stage.spec_of("@task\ndef go(): ...\nwith pipeline('p'): go()\n")
    stage.execution.bundles.clear()

    with pytest.raises(CannotStart, match="the flow's files cannot be fetched: The run has no"):
        await stage.start(spec)


async def test_files_that_arrive_damaged_are_fetched_again(stage: TaskStage) -> None:
    spec = stage.spec_of("@task\ndef go(): ...\nwith pipeline('p'): go()\n")
    assert spec.bundle is not None
    good = stage.execution.bundles[spec.bundle]
    stage.execution.bundles[spec.bundle] = good[:-1]

    def mend(ask: str) -> None:
        if stage.execution.asked.count("read_bundle") == 2:
            stage.execution.bundles[spec.bundle or ""] = good

    stage.execution.before = mend

    assert (await stage.run(spec)).result.outcome is Outcome.EXITED


async def test_an_archive_cannot_write_outside_of_its_folder(stage: TaskStage) -> None:
    import hashlib
    import io
    import zipfile

    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("../../escaped.py", "x = 1")
    packed = buffer.getvalue()
    sha256 = hashlib.sha256(packed).hexdigest()
    stage.execution.bundles[sha256] = packed
    spec = stage.spec_of("@task\ndef go(): ...\nwith pipeline('p'): go()\n")

    with pytest.raises(CannotStart, match="leads out of the working directory"):
        await stage.start(spec.model_copy(update={"bundle": sha256}))

    assert not list(stage.folder.rglob("escaped.py"))
