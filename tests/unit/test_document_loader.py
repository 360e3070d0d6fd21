"""What good documents become: one canonical pipeline, whichever dialect and syntax they have."""

from pathlib import Path

import pytest

from drawbar.document import load
from shared.protocol.pipeline import PipelineSpec, RetryOn, RetryRule
from tests.support.documents import spec_of

OURS = """\
name: nightly
env: {APP: test}
max_workers: 3
timeout: 30m
continue_on_error: false
retry:
  {max: 2, delay: 10s, backoff: 1.5, jitter: 0, max_time: 1h, on: [failed], on_exit_codes: [1, 75]}
jobs:
  - id: dump
    description: dumps it
    command: ./dump
    env: {LEVEL: "3"}
    working_dir: db
    timeout: 90
    allow_failure: true
  - id: load
    command: ./load
    needs: [dump]
    retry: {max: 5}
"""

EXECUTIONER = """\
{
  "application_name": "nightly",
  "env_variables": {"APP": "test"},
  "parallel": true,
  "max_workers": 3,
  "default_timeout": 1800,
  "default_max_retries": 2,
  "default_retry_delay": 10,
  "default_retry_backoff": 1.5,
  "default_retry_jitter": 0,
  "default_max_retry_time": 3600,
  "default_retry_on_exit_codes": [1, 75],
  "default_retry_on_status": ["ERROR", "FAILED"],
  "_smtp_server": "switched off",
  "jobs": [
    {"job_id": "dump", "job_description": "dumps it", "command": "./dump",
     "env_variables": {"LEVEL": 3}, "workingDir": "db", "timeout": 90, "allowFailure": true},
    {"id": "load", "command": "./load", "dependencies": ["dump"], "max_retries": 5}
  ]
}
"""

TOML = """\
name = "nightly"
max_workers = 3
timeout = "30m"
on_error = "stop"
env.APP = "test"

[retry]
max = 2
delay = "10s"
backoff = 1.5
jitter = 0.0
max_time = "1h"
on = ["failed"]
on_exit_codes = [1, 75]

[[jobs]]
id = "dump"
description = "dumps it"
command = "./dump"
env = {LEVEL = 3}
working_dir = "db"
timeout = 90
allow_failure = true

[[jobs]]
id = "load"
command = "./load"
needs = ["dump"]
retry = {max = 5}
"""

STAGED_FLAT = """\
name: ship
stages: [build, test]
jobs:
  - {name: compile, stage: build, script: [make, make install], artifacts: [out/*]}
  - {name: check, stage: test, script: [make check], dependencies: [compile], allowFailure: yes}
"""

STAGED_NESTED = """\
name: ship
stages:
  - name: build
    jobs:
      - {name: compile, script: [make, make install], artifacts: [out/*]}
  - name: test
    jobs:
      - {name: check, script: make check, dependencies: compile, allow_failure: true}
"""


@pytest.mark.parametrize(
    ("text", "file"), [(EXECUTIONER, "p.json"), (EXECUTIONER, "p.yaml"), (TOML, "p.toml")]
)
def test_every_dialect_and_syntax_says_the_same(text: str, file: str) -> None:
    assert spec_of(text, file) == spec_of(OURS)


def test_both_shapes_of_stages_say_the_same() -> None:
    flat = spec_of(STAGED_FLAT)

    assert flat == spec_of(STAGED_NESTED)
    assert flat.stages == ("build", "test")
    assert [(job.id, job.stage) for job in flat.jobs] == [("compile", "build"), ("check", "test")]


def test_a_job_inherits_the_retry_settings_that_it_does_not_give() -> None:
    dump, load_ = spec_of(OURS).jobs

    assert dump.retry is None
    assert load_.retry == RetryRule(
        max=5,
        delay_s=10.0,
        backoff=1.5,
        jitter=0.0,
        max_time_s=3_600.0,
        on=(RetryOn.FAILED,),
        on_exit_codes=(1, 75),
    )


@pytest.mark.parametrize(
    ("written", "seconds"),
    [("90", 90), ("90s", 90), ("1.5m", 90), ("2h", 7_200), ("1d", 86_400), ('"250ms"', 0.25)],
)
def test_durations_are_seconds_or_carry_a_unit(written: str, seconds: float) -> None:
    pipeline = spec_of(f"timeout: {written}\njobs: [{{id: a, command: b}}]")

    assert pipeline.timeout_s == seconds


def test_environment_values_are_the_text_that_was_written() -> None:
    pipeline = spec_of("""\
        env: {PORT: 0080, DEBUG: yes, VERSION: 1.10, DAY: 2024-01-01, EMPTY: "", TIME: 12:30}
        jobs: [{id: a, command: b}]
        """)

    assert pipeline.env == {
        "PORT": "0080",
        "DEBUG": "yes",
        "VERSION": "1.10",
        "DAY": "2024-01-01",
        "EMPTY": "",
        "TIME": "12:30",
    }


def test_words_that_look_like_booleans_and_numbers_are_text_where_text_is_wanted() -> None:
    pipeline = spec_of("name: 7\njobs: [{id: on, command: true}, {id: 12, argv: [no, 1e3]}]")

    assert pipeline.name == "7"
    assert [job.id for job in pipeline.jobs] == ["on", "12"]
    assert pipeline.jobs[0].command == "true"
    assert pipeline.jobs[1].argv == ("no", "1e3")


def test_sequential_means_one_worker() -> None:
    pipeline = spec_of("parallel: false\nmax_workers: 4\njobs: [{id: a, command: b}]")

    assert pipeline.max_workers == 1


def test_comments_are_passed_over_and_anchors_are_merged() -> None:
    pipeline = spec_of("""\
        x-defaults: &quick {timeout: 10s, env: {A: "1"}, anything: [goes]}
        x-job: &job {timeout: 10s, env: {A: "1"}}
        _old: 1
        jobs:
          - {<<: *job, id: a, command: b}
          - {<<: *job, id: c, command: d, timeout: 20s, _note: later}
        """)

    assert [job.timeout_s for job in pipeline.jobs] == [10.0, 20.0]
    assert [job.env for job in pipeline.jobs] == [{"A": "1"}, {"A": "1"}]


def test_a_working_directory_of_the_application_is_that_of_its_jobs() -> None:
    pipeline = spec_of(
        "working_dir: /srv\njobs: [{id: a, command: b}, {id: c, command: d, working_dir: sub}]"
    )

    assert [job.working_dir for job in pipeline.jobs] == ["/srv", "sub"]


def test_nothing_counts_as_not_given() -> None:
    pipeline = spec_of("env:\njobs: [{id: a, command: b, timeout: null, needs: ~}]")

    assert pipeline == PipelineSpec.model_validate(
        {"name": "p", "jobs": [{"id": "a", "command": "b"}]}
    )


def test_a_file_without_a_name_is_called_after_itself(tmp_path: Path) -> None:
    file = tmp_path / "weekly.json"
    file.write_text('\ufeff{"jobs": [{"id": "a", "command": "b"}]}', encoding="utf-8")

    loaded = load(file)

    assert loaded.spec.name == "weekly"
    assert loaded.source.startswith("{")


def test_a_chain_may_be_longer_than_the_stack() -> None:
    jobs = "".join(f"- {{id: j{i}, command: t, needs: [j{i + 1}]}}\n" for i in range(5_000))

    pipeline = spec_of(f"jobs:\n{jobs}- {{id: j5000, command: t}}\n")

    assert len(pipeline.jobs) == 5_001
