"""The examples are pipelines that run, and end as their comments say."""

from pathlib import Path

import pytest

from tests.support.cli import ROOT, Command

pytestmark = pytest.mark.system


@pytest.fixture
def drawbar(tmp_path: Path) -> Command:
    return Command(tmp_path)


@pytest.mark.parametrize(
    ("name", "options", "ends"),
    [
        ("staged.yaml", ["--images", "ignore"], {"success": 3, "failed": 1}),
        ("service.yaml", [], {"success": 3, "failed": 1}),
        ("executioner.json", [], {"success": 7}),
        ("ledger.json", [], {"success": 4}),
        ("matrix.yaml", [], {"success": 9, "skipped": 1}),
        ("deploy.yaml", [], {"success": 4}),
        ("deploy.yaml", ["--param", "target=live", "--param", "copies=3"], {"success": 4}),
        ("etl.yaml", ["--env", f"ETL_HOME={ROOT}"], {"success": 8}),
    ],
)
def test_an_example_ends_as_it_says(
    drawbar: Command, name: str, options: list[str], ends: dict[str, int]
) -> None:
    work = drawbar.folder / "work"  # where ledger.json puts what its jobs share
    done = drawbar.json("run", ROOT / "examples" / name, "--env", f"WORK={work}", *options)

    assert done["status"] == "success"
    assert {status: n for status, n in done["counts"].items() if n} == ends


def test_the_ledger_is_asked_twice_and_its_checks_are_made(drawbar: Command) -> None:
    work = drawbar.folder / "work"
    done = drawbar.json("run", ROOT / "examples" / "ledger.json", "--env", f"WORK={work}")

    tries = {job["id"]: job["tries"] for job in done["jobs"]}
    assert tries == {"prepare": 1, "export": 2, "load": 1, "clean_up": 1}


def test_parameters_reach_the_jobs_of_a_document_of_several_files(drawbar: Command) -> None:
    done = drawbar.json("run", ROOT / "examples" / "deploy.yaml", "--param", "target=live")

    log = drawbar.run("logs", str(done["run_id"]), "report").stdout
    assert done["name"] == "deploy-live"
    assert log == "hello, live; version 1.10 is there\n"
