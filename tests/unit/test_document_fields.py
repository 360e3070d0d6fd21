"""Every field that a document may have, in every spelling; and what each dialect leaves unsaid."""

import json

import pytest

from drawbar.document import load_text
from drawbar.document.fields import JOB, LIMITS, NOTIFY, PIPELINE, RETRY, SCHEDULE, SECURITY
from drawbar.document.tables import Field, Table
from shared.protocol.pipeline import (
    CheckSpec,
    Limits,
    MailServer,
    NotifyOn,
    NotifySpec,
    OnError,
    PipelineSpec,
    RetryOn,
    RetryRule,
    ScheduleSpec,
    SecuritySpec,
)
from tests.support.documents import mistakes_of, spec_of

A_JOB = "jobs: [{id: a, command: b}]\n"


# Every field of the Executioner's format, with values that it takes.
EXECUTIONER = {
    "application_name": "nightly",
    "default_timeout": 600,
    "default_max_retries": 1,
    "default_retry_delay": 5,
    "default_retry_backoff": 2,
    "default_retry_jitter": 0.2,
    "default_max_retry_time": 60,
    "default_retry_on_exit_codes": [2],
    "default_retry_on_status": ["ERROR", "PRECHECK_FAILED"],
    "parallel": True,
    "max_workers": 3,
    "allow_shell": True,
    "inherit_shell_env": "default",
    "env_variables": {"A": "b"},
    "email_address": "ops@example.org, dev@example.org",
    "email_on_success": True,
    "email_on_failure": True,
    "smtp_server": "mail.example.org",
    "smtp_port": 587,
    "smtp_user": "u",
    "smtp_password": "p",
    "dependency_plugins": ["plugins/checks.py"],
    "security_policy": "strict",
    "security_level": "high",
    "command_whitelist": ["sqlplus"],
    "command_allowlist_patterns": ["^sqlplus .*$"],
    "workspace_paths": ["/srv"],
    "log_dir": "logs",
    "working_dir": "/srv/nightly",
    "continue_on_error": True,
    "jobs": [
        {
            "id": "load",
            "description": "loads",
            "command": "sqlplus @load",
            "timeout": 60,
            "dependencies": [],
            "env_variables": {"C": 4},
            "pre_checks": [{"name": "check_file_exists", "params": {"path": "in"}}],
            "post_checks": [{"name": "check_no_ora_errors", "params": {"log_file": "*.log"}}],
            "max_retries": 2,
            "retry_delay": 1,
            "retry_backoff": 1,
            "retry_jitter": 0,
            "max_retry_time": 30,
            "retry_on_status": ["FAILED", "TIMEOUT", "POSTCHECK_FAILED"],
            "retry_on_exit_codes": [1, 2],
        }
    ],
}


def one_more(field: Field, name: str, table: Table) -> PipelineSpec:
    """A pipeline with the field's own example, and what that needs around it."""
    job: dict[str, object] = {"id": "a"}
    rest: dict[str, object] = {}
    if table is JOB:
        job = {} if field.place == "id" else job
        job[name] = field.example
        if field.place == "stage":
            rest["stages"] = [field.example]
    else:
        rest[name] = field.example
    if field.place == "container":
        job["image"] = "debian:12"
    if field.place == "with":
        job["python"] = "etl.load:main"
    if not job.keys() & {"command", "script", "argv", "python"}:
        job["command"] = "true"
    jobs: list[object] = [{"id": "fetch", "command": "true"}, job]
    if field.place == "inputs":
        job["needs"] = field.example
    if field.place == "stages":
        jobs = [{"id": n, "command": "true", "stage": n} for n in field.example]
    if field.place == "stage":
        jobs = [job]
    document = {"jobs": jobs, **rest}
    return load_text(json.dumps(document), "p.json").spec


@pytest.mark.parametrize(
    ("table", "name"),
    [
        *((JOB, name) for name in JOB.fields),
        *((PIPELINE, name) for name in PIPELINE.fields if name not in ("extends", "include")),
    ],
    ids=lambda value: value if isinstance(value, str) else "job" if value is JOB else "pipeline",
)
def test_the_example_of_a_field_can_be_loaded_in_every_spelling(table: Table, name: str) -> None:
    assert one_more(table.fields[name], name, table).jobs


@pytest.mark.parametrize(
    ("block", "table"),
    [("retry", RETRY), ("security", SECURITY), ("notify", NOTIFY), ("schedule", SCHEDULE)],
)
def test_the_examples_of_a_block_can_be_loaded_together(block: str, table: Table) -> None:
    values = {field.names[0]: field.example for field in table.distinct()}

    pipeline = load_text(
        json.dumps({block: values, "jobs": [{"id": "a", "command": "b"}]}), "p.json"
    ).spec

    assert getattr(pipeline, block) is not None


def test_a_field_stands_for_one_place_of_the_canonical_model() -> None:
    from shared.protocol.pipeline import JobSpec

    job = {field.place for field in JOB.distinct() if "." not in field.place}
    retry = {field.place for field in RETRY.distinct()}
    limits = {field.place for field in LIMITS.distinct()}

    # Of a task a document says the function and its arguments, flow files say the rest. Artifacts
    # are a mapping where they say when they are kept.
    assert job - {"python", "with"} == set(JobSpec.model_fields) - {"task", "artifacts_when"}
    assert retry == set(RetryRule.model_fields)
    assert limits == set(Limits.model_fields)
    assert set(PipelineSpec.model_fields) - {"bundle"} <= {f.place for f in PIPELINE.distinct()}


def test_an_executioners_file_with_every_field_is_loaded_whole() -> None:
    pipeline = load_text(json.dumps(EXECUTIONER), "p.json").spec

    assert pipeline.inherit_env == "default"
    assert pipeline.plugins == ("plugins/checks.py",)
    assert pipeline.on_error is OnError.CONTINUE
    assert pipeline.retry.on == (RetryOn.FAILED, RetryOn.PRECHECK_FAILED)
    assert pipeline.security == SecuritySpec(
        allow_shell=True,
        policy="block",
        level="high",
        exempt_commands=("sqlplus",),
        exempt_patterns=("^sqlplus .*$",),
        workspaces=("/srv",),
    )
    assert pipeline.notify == NotifySpec(
        on=(NotifyOn.SUCCESS, NotifyOn.FAILURE),
        email=("ops@example.org", "dev@example.org"),
        mail_server=MailServer(host="mail.example.org", port=587, user="u", password="p"),
    )
    [job] = pipeline.jobs
    assert job.working_dir == "/srv/nightly"
    assert job.pre_checks == (CheckSpec(name="check_file_exists", params={"path": "in"}),)
    assert job.post_checks == (CheckSpec(name="check_no_ora_errors", params={"log_file": "*.log"}),)
    assert job.retry == RetryRule(
        max=2,
        delay_s=1,
        backoff=1,
        jitter=0,
        max_time_s=30,
        on=(RetryOn.FAILED, RetryOn.TIMEOUT, RetryOn.POSTCHECK_FAILED),
        on_exit_codes=(1, 2),
    )


def test_the_executioners_files_keep_their_own_defaults() -> None:
    pipeline = spec_of("application_name: x\njobs: [{id: a, command: b, max_retries: 2}]\n")

    assert pipeline.on_error is OnError.STOP
    assert pipeline.max_workers == 1
    assert pipeline.jobs[0].retry == RetryRule(
        max=2, delay_s=30, backoff=1.5, jitter=0.1, max_time_s=1_800, on_exit_codes=(1,)
    )


def test_the_executioners_files_run_side_by_side_only_when_they_say_so() -> None:
    text = "application_name: x\nmax_workers: 5\n" + A_JOB

    assert spec_of(text).max_workers == 1
    assert spec_of("parallel: true\n" + text).max_workers == 5


@pytest.mark.parametrize(
    ("said", "on_error"),
    [
        ("", OnError.CONTINUE),
        ("continue_on_error: true", OnError.CONTINUE),
        ("continue_on_error: false", OnError.STOP),
        ("fail_fast: true", OnError.CANCEL),
        ("fail_fast: false", OnError.CONTINUE),
        ("{fail_fast: true, continue_on_error: false}", OnError.CANCEL),
        ("on_error: cancel", OnError.CANCEL),
    ],
)
def test_what_a_failure_means_can_be_said_in_three_ways(said: str, on_error: OnError) -> None:
    text = said.strip("{}").replace(", ", "\n")

    assert spec_of(f"{text}\n{A_JOB}").on_error is on_error


def test_ways_that_contradict_each_other_are_a_mistake() -> None:
    found = mistakes_of("fail_fast: true\ncontinue_on_error: true\n" + A_JOB)

    assert found == [(2, "continue_on_error: contradicts fail_fast; give one")]


@pytest.mark.parametrize(
    ("said", "on"),
    [
        ("", (NotifyOn.FAILURE,)),
        ("email_on_success: true\n", (NotifyOn.SUCCESS, NotifyOn.FAILURE)),
        ("email_on_success: true\nemail_on_failure: false\n", (NotifyOn.SUCCESS,)),
        ("email_on_failure: false\n", ()),
    ],
)
def test_mail_is_sent_of_what_the_switches_say(said: str, on: tuple[NotifyOn, ...]) -> None:
    notify = spec_of(said + "email_address: [a@b]\n" + A_JOB).notify

    assert notify is not None
    assert notify.on == on


def test_a_schedule_may_be_cron_alone() -> None:
    short = spec_of("schedule: 0 3 * * *\n" + A_JOB).schedule
    long = spec_of("schedule: {cron: '0 3 * * *', timezone: Europe/Berlin}\n" + A_JOB).schedule

    assert short == ScheduleSpec(cron="0 3 * * *")
    assert long == ScheduleSpec(cron="0 3 * * *", timezone="Europe/Berlin")


def test_parameters_of_checks_keep_their_types() -> None:
    [job] = spec_of("""\
        jobs:
          - id: a
            command: b
            pre_checks:
              - plain
              - {name: full, params: {n: 3, x: 1.5, t: true, none: null, s: "3", l: [1, {a: b}]}}
        """).jobs

    assert job.pre_checks == (
        CheckSpec(name="plain"),
        CheckSpec(
            name="full",
            params={"n": 3, "x": 1.5, "t": True, "none": None, "s": "3", "l": [1, {"a": "b"}]},
        ),
    )


def test_what_has_no_effect_is_noted_and_is_no_mistake() -> None:
    loaded = load_text(
        "log_dir: /x\nrepository: git@x\nbranch: main\nsmtp_port: 25\n" + A_JOB, "p.yaml"
    )

    assert [(note.line, note.message.split(":")[0].split(" has")[0]) for note in loaded.notes] == [
        (4, "smtp_port"),
        (1, "log_dir"),
        (2, "repository"),
        (3, "branch"),
    ]
    assert loaded.spec.env == {"DRAWBAR_REPOSITORY": "git@x", "DRAWBAR_BRANCH": "main"}


def test_doubts_about_checks_are_noted_because_a_worker_may_have_its_own() -> None:
    text = (
        "jobs:\n- id: a\n  command: b\n  pre_checks:\n"
        "  - check_file_exist\n"
        "  - {name: check_file_exists, params: {pth: x}}\n"
        "  - {name: check_tcp_port, params: {port: '${PORT}'}}\n"
        "  - {name: check_file_exists, params: {path: x}}\n"
    )

    notes = [(note.line, note.message) for note in load_text(text).notes]
    assert notes == [
        (
            5,
            "check 'check_file_exist': does not come with drawbar; workers must have it "
            "(did you mean 'check_file_exists'?)",
        ),
        (
            6,
            "check 'check_file_exists': unknown parameter 'pth'; did you mean 'path'?; "
            "parameter 'path' is missing",
        ),
    ]
    assert [note.line for note in load_text("plugins: [own.py]\n" + text).notes] == [7]


def test_a_password_is_not_shown_with_the_pipeline() -> None:
    pipeline = load_text(json.dumps(EXECUTIONER), "p.json").spec

    assert "'p'" not in repr(pipeline.notify)
