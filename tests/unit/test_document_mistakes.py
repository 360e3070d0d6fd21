"""Every kind of mistake is reported at its line, together with all others."""

from pathlib import Path

import pytest

from drawbar.document import BadDocument, load, load_text
from tests.support.documents import mistakes_of
from tests.support.golden import GOLDEN, assert_golden

DURATION = "expected a duration such as 90, 90s, 30m, 2h or 1d, found"
NO_VARIABLE = "is not a name for a variable (letters, digits and _, no digit first)"

A_JOB = "jobs: [{id: a, command: b}]\n"


def test_the_golden_ten_mistakes_are_told_at_once() -> None:
    text = (GOLDEN / "ten_mistakes.yaml").read_text()

    with pytest.raises(BadDocument) as caught:
        load_text(text, "nightly.yaml")

    assert len(caught.value.mistakes) == 10
    assert_golden("ten_mistakes.txt", caught.value.format_mistakes() + "\n")


@pytest.mark.parametrize(
    ("field", "message"),
    [
        ("max_workers: many", "max_workers: expected a whole number, found 'many'"),
        ('max_workers: "4"', "max_workers: expected a whole number, found the text '4'"),
        ("max_workers: 0", "max_workers: must be at least 1"),
        ("parallel: maybe", "parallel: expected true or false, found 'maybe'"),
        ("name: [a]", "name: expected text, found a list"),
        ("name: ''", "name: must not be empty"),
        ("name: a/b", "name: must not hold '/' or control characters"),
        ("env: [A=1]", "env: expected a mapping of names to texts, found a list"),
        ("env: {A: [1]}", "env.A: expected text, found a list"),
        ("env: {A: }", "env.A: expected text, found nothing"),
        ("env: {A: 1, A: 2}", "'A' is given twice (see line 1)"),
        ("default_timeout: 0s", "default_timeout: expected a duration above zero, found '0s'"),
        ("timeout: 400d", "timeout: expected a duration of at most 366 days, found '400d'"),
        (
            "timeout: 1:30",
            f"timeout: {DURATION} '1:30'",
        ),
        ("retry: 3", "retry: expected a mapping such as {max: 2, delay: 5s}, found '3'"),
        ("retry: {max: -1}", "retry.max: must be at least 0"),
        ("retry: {jitter: 2}", "retry.jitter: must be at most 1"),
        ("retry: {jitter: .nan}", "retry.jitter: expected a number, found '.nan'"),
        (
            "retry: {on: [oom]}",
            "retry.on: expected failed or timeout or precheck_failed or postcheck_failed or lost "
            "or error, found 'oom'",
        ),
        ("retry: {dealy: 3}", "unknown field 'dealy' (did you mean 'delay'?)"),
        ("default_max_retries: 2000", "default_max_retries: must be at most 1,000"),
        ("colour: red", "unknown field 'colour'"),
        ("timeuot: 3", "unknown field 'timeuot' (did you mean 'timeout'?)"),
        (
            "schedule: at night",
            "schedule: expected five fields such as \"0 3 * * *\", or @daily, found 'at night'",
        ),
        ("schedule: {timezone: UTC}", "the schedule has no cron"),
        (
            "schedule: 61 3 * * *",
            "schedule: '61 3 * * *' is not a schedule: its minute field is wrong",
        ),
        (
            "schedule: 0 0 30 2 *",
            "schedule: '0 0 30 2 *' is not a schedule: its day-of-month field is wrong",
        ),
        (
            "schedule: {cron: '@daily', timezone: Mars/Base}",
            "schedule.timezone: expected a time zone such as Europe/Berlin, found 'Mars/Base'",
        ),
        ("lock: db", "field 'lock' belongs to a job, not to the pipeline"),
        (
            "email_address: ops",
            "email_address: expected mail addresses such as ops@example.org, found 'ops'",
        ),
        (
            "notify: {email: a@b, mail_server: {host: h, port: 0}}",
            "notify.mail_server.port: must be at least 1",
        ),
        ("notify: {email: a@b, mail_server: {port: 25}}", "notify.mail_server.host: is missing"),
        (
            "notify: {webhook: example.org}",
            "notify.webhook: expected an address that begins with "
            "http:// or https://, found 'example.org'",
        ),
        ("smtp_port: 70000", "smtp_port: must be at most 65,535"),
        (
            "security_level: extreme",
            "security_level: expected low or medium or high, found 'extreme'",
        ),
        (
            "security: {allowed_patterns: ['(']}",
            "'(' is not a regular expression: missing ), unterminated subpattern at position 0",
        ),
        (
            "inherit_shell_env: most",
            'inherit_shell_env: expected true, false, "default" or a '
            "list of variables, found 'most'",
        ),
        ("on_error: retry", "on_error: expected continue or stop or cancel, found 'retry'"),
        (
            "params: {n: {type: int, default: many}}",
            "params.n: expected a whole number, found 'many'",
        ),
        ("params: {n: {choices: [a, b], default: c}}", "params.n: expected one of a, b, found 'c'"),
        (
            "params: {n: {type: choice, default: c}}",
            "parameter 'n' is a choice, but has no choices",
        ),
        (
            "params: {n: {type: int}}",
            "parameter 'n' has no default: give it a value with --param n=…",
        ),
        (
            "params: {1n: 2}",
            "params: '1n' is not a name for a parameter (letters, digits, - and _, no digit first)",
        ),
        ("extends: base.yaml", "extends: only a document in a file can name others"),
        ("description: ${{ params.x }}", "there is no parameter 'x'"),
        (
            "description: ${{ env.x }}",
            "'env.x' is no template; there are params.NAME and matrix.NAME",
        ),
        ("description: ${{ matrix.x }}", "'matrix.x' stands in no job with a matrix"),
    ],
)
def test_a_mistake_at_the_top_is_found_at_its_line(field: str, message: str) -> None:
    assert mistakes_of(field + "\n" + A_JOB) == [(1, message)]


@pytest.mark.parametrize(
    ("field", "message"),
    [
        ("timeout: soon", f"timeout: {DURATION} 'soon'"),
        ("needs: {b: c}", "needs: expected a list of texts, found a mapping"),
        ("needs: [[b]]", "needs: expected text, found a list"),
        ("needs: b", "job 'a' needs 'b', which does not exist"),
        ("needs: a", "job 'a' needs itself"),
        ("stage: build", "stage 'build' is not in stages"),
        ("inputs: [b]", "job 'a' takes inputs of 'b', which is not among its needs"),
        ("priority: 2.5", "priority: expected a whole number, found '2.5'"),
        ("priority: 9_999_999", "priority: must be at most 1,000,000"),
        ("allowFailure: 1", "allowFailure: expected true or false, found '1'"),
        ("on_lost: hold", "on_lost: expected requeue or fail, found 'hold'"),
        ("env: {1X: a}", f"env: '1X': {NO_VARIABLE}"),
        ("requires: {os: ''}", "requires: 'os': must not be empty"),
        ("max_retries: 1.5", "max_retries: expected a whole number, found '1.5'"),
        ("max_retries: -1", "max_retries: must be at least 0"),
        ("retry_on_exit_codes: [one]", "retry_on_exit_codes: expected a whole number, found 'one'"),
        ("pre_checks: x", "pre_checks: expected a list of checks, found 'x'"),
        ("post_checks: [{params: {a: 1}}]", "the check has no name"),
        ("post_checks: [{name: a, param: {}}]", "unknown field 'param' (did you mean 'params'?)"),
        ("when: never", "when: expected on_success or on_failure or always, found 'never'"),
        ("approve: perhaps", "approve: expected true or false, found 'perhaps'"),
        ("schedule: '@daily'", "field 'schedule' belongs to the pipeline, not to a job"),
        ("dockerImage: ''", "dockerImage: must not be empty"),
        ("secrets: [token]", "field 'secrets' is not supported by this version"),
        ("matrix: {py: []}", "matrix.py: lists no values"),
        ("matrix: {py: [1, 1]}", "matrix.py: '1' is listed twice"),
        ("matrix: {py: [a/b]}", "matrix.py: 'a/b' must not be empty nor hold / , = [ ] or control "
         "characters"),
        ("matrix: {1: [a]}", "matrix: '1' is not a name for an axis (letters, digits, - and _, no "
         "digit first)"),
        ("matrix: {}", "the matrix lists no values"),
        ("allow_failrue: true", "unknown field 'allow_failrue' (did you mean 'allow_failure'?)"),
        ("command: other", "'command' is given twice (see line 3)"),
        ("name: other", "'name' says the same as 'id' (line 2); give one"),
        ("argv: [b]",
         "job 'a': give exactly one of command, script, argv or python (found command and argv)"),
        ('working_dir: "a\\0b"', "working_dir: must not hold a NUL character"),
    ],
)  # fmt: skip
def test_a_mistake_in_a_job_is_found_at_its_line(field: str, message: str) -> None:
    found = mistakes_of(f"jobs:\n  - id: a\n    command: b\n    {field}\n")

    line = 2 if "exactly one" in message else 4
    assert found == [(line, message)]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("name: x\n", [(1, "the pipeline has no jobs")]),
        ("name: x\njobs: []\n", [(2, "the pipeline has no jobs")]),
        ("jobs: 5\n", [(1, "jobs: expected a list of jobs, found '5'")]),
        (
            "jobs:\n- a\n",
            [(2, "jobs: expected a mapping with id and command, found 'a'")],
        ),
        ("jobs:\n- command: a\n", [(2, "the job has no id")]),
        (
            "jobs:\n- id: a\n",
            [
                (
                    2,
                    "job 'a': give exactly one of command, script, argv or python "
                    "(found none of them)",
                )
            ],
        ),
        (
            "jobs:\n- id: a\n  python: main\n",
            [(3, "python: expected module:function, for example etl.load:main, found 'main'")],
        ),
        (
            "jobs:\n- {id: a, command: b}\n- {id: a, command: b}\n",
            [(3, "job id 'a' is used twice (see line 2)")],
        ),
        (
            "stages: [s,\n  s]\njobs: [{id: a, stage: s, command: b}]\n",
            [(2, "stage 's' is listed twice")],
        ),
        (
            "stages: [s]\njobs:\n- {id: a, command: b}\n",
            [(3, "job 'a' names no stage, but the pipeline has stages")],
        ),
        ("stages: s\njobs: [{id: a, stage: s, command: b}]\n",
         [(1, "stages: expected a list of stages, found 's'")]),
        ("stages:\n- jobs: [{id: a, command: b}]\n", [(2, "the stage has no name")]),
        (
            "stages:\n- name: s\n  jobs:\n  - {id: a, stage: t, command: b}\n",
            [(4, "job 'a' stands in stage 's', but names 't'")],
        ),
        (
            "stages: [s, t]\njobs:\n- {id: a, stage: s, command: b,\n   needs: [c]}\n"
            "- {id: c, stage: t, command: d}\n",
            [(4, "job 'a' needs 'c', which is in a later stage")],
        ),
        ("jobs:\n- id: a\n  command: b\n  retry: {max: 2}\n  max_retries: 3\n",
         [(5, "'max_retries' is given in the retry block, too; give one")]),
        ("jobs:\n- {id: a, command: b}\n- {id: c, command: d,\n   needs: [a, a]}\n",
         [(4, "job 'c' needs 'a' twice")]),
    ],
)  # fmt: skip
def test_a_mistake_of_structure_is_found_at_its_line(
    text: str, found: list[tuple[int, str]]
) -> None:
    assert mistakes_of(text) == found


def test_circles_are_printed_as_paths_beside_other_mistakes() -> None:
    found = mistakes_of("""\
        jobs:
          - {id: a, command: t, needs: [c]}
          - {id: b, command: t, needs: [a]}
          - {id: c, command: t, needs: [b, nobody]}
          - {id: d, command: t, needs: [e]}
          - {id: e, command: t, needs: [d]}
        """)

    assert found == [
        (2, "dependencies go in a circle: a → c → b → a"),
        (4, "job 'c' needs 'nobody', which does not exist"),
        (5, "dependencies go in a circle: d → e → d"),
    ]


def test_a_mistake_names_its_path_in_the_documents_own_spelling() -> None:
    with pytest.raises(BadDocument) as caught:
        load_text("stages:\n- name: s\n  jobs:\n  - {name: a, script: b, dependencies: [x]}\n")

    [mistake] = caught.value.mistakes
    assert mistake.path == "stages[0].jobs[0].dependencies[0]"
    assert (mistake.line, mistake.column) == (4, 41)


def test_a_broken_value_that_is_shared_by_an_alias_is_told_once() -> None:
    found = mistakes_of("""\
        x-defaults: &defaults {timeout: 0}
        jobs:
          - {<<: *defaults, id: a, command: b}
          - {<<: *defaults, id: c, command: d}
        """)

    assert found == [(1, "timeout: expected a duration above zero, found '0'")]


def test_a_flood_of_mistakes_is_counted() -> None:
    jobs = "".join(f"- {{id: j{i}, command: t, wrong: 1}}\n" for i in range(1_500))

    with pytest.raises(BadDocument) as caught:
        load_text("jobs:\n" + jobs)

    assert len(caught.value.mistakes) == 1_000
    assert caught.value.format_mistakes().endswith("and 500 more mistakes")


@pytest.mark.parametrize("name", ["missing.yaml", "."])
def test_a_file_that_cannot_be_read_is_a_mistake(tmp_path: Path, name: str) -> None:
    with pytest.raises(BadDocument, match="cannot be read: "):
        load(tmp_path / name)
