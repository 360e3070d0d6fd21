"""The examples are documents that load, and the programs that they run do what they say."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from drawbar.document import load
from tests.support.golden import ROOT

EXAMPLES = ROOT / "examples"
PROGRAMS = EXAMPLES / "etl"


DOCUMENTS = [
    *("release.yaml", "etl.yaml", "executioner.json", "ledger.json", "staged.yaml"),
    *("service.yaml", "matrix.yaml", "deploy.yaml", "containers.yaml"),
]


@pytest.mark.parametrize("name", DOCUMENTS)
def test_an_example_loads_and_says_how_to_run_it(name: str) -> None:
    loaded = load(EXAMPLES / name)

    assert loaded.spec.jobs
    assert f"drawbar run examples/{name}" in loaded.source[:1_000]
    assert f"drawbar submit examples/{name}" in loaded.source[:1_000]


def test_every_document_among_the_examples_is_named_here() -> None:
    there = {path.name for ending in ("yaml", "json") for path in EXAMPLES.glob(f"*.{ending}")}

    assert there == set(DOCUMENTS)


def test_the_release_keeps_its_wheel() -> None:
    jobs = {job.id: job for job in load(EXAMPLES / "release.yaml").spec.jobs}

    assert jobs["wheel"].artifacts == ("dist/*.whl",)
    assert jobs["install"].inputs == ("wheel",)


def test_the_release_packs_every_folder_that_its_tests_read() -> None:
    jobs = {job.id: job for job in load(EXAMPLES / "release.yaml").spec.jobs}
    (pack,) = (line for line in jobs["source"].script if "tar -czf" in line)
    (pattern,) = re.findall(r"pytest .*?(tests/unit/\S+)", "\n".join(jobs["unit"].script))

    texts = [path.read_text() for path in ROOT.glob(pattern)]
    read = {name for text in texts for name in re.findall(r'ROOT / "(\w+)"', text)}

    assert {"docs", "examples"} <= read <= set(pack.split())


@pytest.mark.slow
def test_the_etl_programs_add_up_the_shipped_orders(tmp_path: Path) -> None:
    def run(program: str, *arguments: object) -> str:
        command = [sys.executable, str(PROGRAMS / program), *map(str, arguments)]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, check=True)
        return done.stdout.decode()

    regions = ("north", "south", "east", "west")
    said = run("validate.py", EXAMPLES / "data" / "orders.csv", "clean.csv", "rejected.csv")
    for region in regions:
        run("transform.py", region, "clean.csv", f"{region}.csv")
    run("aggregate.py", "summary.json", *(f"{region}.csv" for region in regions))
    page = run("report.py", "summary.json", "report.md")

    summary = json.loads((tmp_path / "summary.json").read_text())
    assert said.startswith("2370 of 2408 orders are good")
    assert summary["orders"] == 2_370
    assert set(summary["months"]) == set(regions)
    assert page == (tmp_path / "report.md").read_text(encoding="utf-8")
    assert "| south | 19,106 |" in page


def test_too_many_bad_orders_stop_the_etl(tmp_path: Path) -> None:
    header = "order_id,day,region,product,quantity,unit_price,currency\n"
    (tmp_path / "raw.csv").write_text(header + "A1,2024-01-01,north,axle,none,1.00,EUR\n")

    done = subprocess.run(
        [sys.executable, PROGRAMS / "validate.py", "raw.csv", "clean.csv", "rejected.csv"],
        cwd=tmp_path,
        capture_output=True,
        check=False,
    )

    assert done.returncode == 1
    assert "quantity is no positive number" in (tmp_path / "rejected.csv").read_text()
