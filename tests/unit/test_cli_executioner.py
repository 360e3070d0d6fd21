"""Old command lines of the Executioner, as our own."""

import json

import pytest

from drawbar.cli.executioner import SAMPLE, parse, translated
from drawbar.cli.failures import Usage
from drawbar.document import load_text


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("-c a.json", ["run a.json"]),
        ("--parallel", ["run jobs_config.json --parallel"]),
        ("-c a.json --parallel --workers 4", ["run a.json --parallel --workers 4"]),
        ("-c a.json --sequential", ["run a.json --sequential"]),
        ("-c a.json --continue-on-error", ["run a.json --continue-on-error"]),
        ("-c a.json --skip a b --dry-run", ["run a.json --skip a --skip b --dry-run"]),
        ("--config a.json --env A=1,B=2", ["run a.json --env A=1 --env B=2"]),
        ("-c a.json --env A=1 B=x,y", ["run a.json --env A=1 --env B=x,y"]),
        ("-c a.json --env A=1 --env B=2", ["run a.json --env A=1 --env B=2"]),
        ("-c a.json --resume-from 7", ["run a.json --resume 7"]),
        (
            "-c a.json --resume-from 7 --resume-failed-only",
            ["run a.json --failed-only --resume 7"],
        ),
        ("-c a.json --visible --debug", ["run a.json --dry-run", "run a.json"]),
        ("--list-runs", ["runs --limit 20"]),
        ("--list-runs nightly --limit 5", ["runs --limit 5 --name nightly"]),
        ("--show-run 7", ["show 7"]),
        ("--mark-success -r 7 -j a,b", ["mark 7 a success", "mark 7 b success"]),
    ],
)
def test_each_old_command_line_is_one_of_ours(old: str, new: list[str]) -> None:
    assert [" ".join(words) for words in translated(parse(old.split()))] == new


@pytest.mark.parametrize("old", ["--wrokers 3", "--workers x", "stray", "--show-run"])
def test_what_the_executioner_did_not_know_is_refused(old: str) -> None:
    with pytest.raises(Usage, match="executioner"):
        parse(old.split())


@pytest.mark.parametrize("old", ["--mark-success", "--mark-success -r 7", "--mark-success -j a"])
def test_a_mark_needs_a_run_and_jobs(old: str) -> None:
    with pytest.raises(Usage, match="-r RUN"):
        translated(parse(old.split()))


def test_the_sample_is_a_pipeline_that_can_run() -> None:
    spec = load_text(SAMPLE, "sample.json").spec

    assert [job.id for job in spec.jobs] == [job["id"] for job in json.loads(SAMPLE)["jobs"]]
