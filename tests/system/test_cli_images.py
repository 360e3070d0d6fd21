"""Documents whose jobs ask for containers, as a person meets them."""

from pathlib import Path

import pytest

from tests.support.cli import Command

pytestmark = [pytest.mark.system, pytest.mark.slow]

STAGED = """
name: staged
stages: [build, test]
jobs:
  - {name: compile, stage: build, dockerImage: "gcc:13", script: [echo compiled]}
  - {name: unit, stage: test, image: "debian:12", script: [echo tested], dependencies: [compile]}
  - {name: tidy, stage: test, script: [echo tidied]}
"""


@pytest.fixture
def drawbar(tmp_path: Path) -> Command:
    return Command(tmp_path)


def test_a_run_says_first_which_jobs_it_will_refuse_and_how_they_run(drawbar: Command) -> None:
    done = drawbar.run("run", drawbar.write("p.yaml", STAGED), "--images", "refuse")

    assert done.returncode == 1
    assert done.stderr == (
        "note: 2 jobs (compile, unit) ask for images and will be refused, as --images refuse "
        "says; to run such jobs on the machine itself: drawbar run --images ignore\n"
    )
    assert "'gcc:13', and this worker was started with --images refuse" in done.stdout


def test_without_an_engine_it_says_how_to_name_one(drawbar: Command) -> None:
    file = drawbar.write("p.yaml", STAGED)

    done = drawbar.run("run", file, DOCKER_HOST=f"unix://{drawbar.folder}/none.sock")
    bad = drawbar.run("run", file, "--docker", "somewhere")

    assert done.stderr == ""
    reason = drawbar.json("show", "1")["jobs"][0]["reason"]
    assert reason["what"] == "spawn_error"
    assert "none.sock cannot be used" in reason["message"]
    assert "is it running? --docker names another" in reason["message"]
    assert bad.returncode == 2
    assert "--docker 'somewhere': give unix:///path/of/the.sock or tcp://" in bad.stderr


@pytest.mark.parametrize("way", ["flag", "variable", "file"])
def test_images_can_be_ignored(drawbar: Command, way: str) -> None:
    file = drawbar.write("p.yaml", STAGED)
    if way == "file":
        drawbar.write("drawbar.toml", '[run]\nimages = "ignore"\n')
    options = ["--images", "ignore"] if way == "flag" else []
    env = {"DRAWBAR_IMAGES": "ignore"} if way == "variable" else {}

    done = drawbar.run("run", file, *options, **env)

    assert (done.returncode, done.stderr) == (0, "")
    log = drawbar.run("logs", "1", "compile").stdout
    assert log == "[drawbar] image 'gcc:13' ignored: runs on the machine\ncompiled\n"


def test_jobs_that_are_left_out_are_not_told_of(drawbar: Command) -> None:
    file = drawbar.write("p.yaml", STAGED)

    done = drawbar.run("run", file, "--skip", "compile", "--skip", "unit")

    assert (done.returncode, done.stderr) == (0, "")


def test_a_plan_shows_the_images(drawbar: Command) -> None:
    file = drawbar.write("p.yaml", STAGED)

    assert "(image gcc:13)" in drawbar.run("run", file, "--dry-run").stdout
    layers = drawbar.json("run", file, "--dry-run")["layers"]
    images = {job["id"]: job["image"] for layer in layers for job in layer}
    assert images == {"compile": "gcc:13", "unit": "debian:12", "tidy": None}
