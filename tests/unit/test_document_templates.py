"""Parameters, matrices and variables: what is filled in before a pipeline is handed over."""

import pytest

from drawbar.document import BadDocument, load_text
from shared.protocol.pipeline import JobSpec, PipelineSpec
from tests.support.documents import mistakes_of, spec_of

PARAMS = """\
params:
  workers: {type: int, default: 4}
  quick: {type: bool, default: false}
  target: {choices: [test, live], default: test}
  version: 1.10
  note: {type: string, default: ""}
"""


def with_params(rest: str, **given: str) -> PipelineSpec:
    return load_text(PARAMS + rest, "p.yaml", given).spec


def job_of(text: str) -> JobSpec:
    return spec_of(text).jobs[0]


def test_parameters_are_filled_in_anywhere_and_recorded_with_their_types() -> None:
    pipeline = with_params(
        "name: to-${{ params.target }}\nmax_workers: ${{params.workers}}\n"
        "jobs:\n- id: a\n  command: echo ${{ params.version }} ${{ params.target }}\n"
        "  allow_failure: ${{ params.quick }}\n  env: {N: '${{ params.note }}'}\n"
    )

    assert pipeline.name == "to-test"
    assert pipeline.max_workers == 4
    [job] = pipeline.jobs
    assert job.command == "echo 1.10 test"
    assert job.allow_failure is False
    assert job.env == {"N": ""}
    assert pipeline.params == {
        "workers": 4,
        "quick": False,
        "target": "test",
        "version": "1.10",
        "note": "",
    }


def test_given_values_win_over_defaults() -> None:
    pipeline = with_params(
        "max_workers: ${{ params.workers }}\njobs: [{id: a, command: '${{ params.version }}'}]\n",
        workers="9",
        version="2",
    )

    assert pipeline.max_workers == 9
    assert pipeline.jobs[0].command == "2"
    assert pipeline.params["workers"] == 9


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"workers": "many"}, "--param workers: expected a whole number, found 'many'"),
        ({"quick": "maybe"}, "--param quick: expected true or false, found 'maybe'"),
        ({"target": "prod"}, "--param target: expected one of test, live, found 'prod'"),
        ({"worker": "1"}, "it has no parameter 'worker' (did you mean 'workers'?)"),
    ],
)
def test_a_value_that_does_not_fit_is_a_mistake(given: dict[str, str], message: str) -> None:
    with pytest.raises(BadDocument) as caught:
        with_params("jobs: [{id: a, command: b}]\n", **given)

    assert [(m.line, m.message) for m in caught.value.mistakes] == [(0, message)]


def test_a_template_may_be_meant_as_it_is() -> None:
    assert job_of("jobs: [{id: a, command: 'echo $${{ params.x }}'}]").command == (
        "echo ${{ params.x }}"
    )


def test_a_matrix_becomes_a_job_for_each_combination() -> None:
    pipeline = spec_of("""\
        jobs:
          - {id: before, command: b}
          - id: test
            matrix: {py: ["3.11", "3.12"], os-name: [linux, mac]}
            command: tox -e ${{ matrix.py }}
            env: {TAG: "${MATRIX_PY}-${MATRIX_OS_NAME}"}
            needs: [before]
          - {id: after, command: a, needs: [before, test], inputs: test}
        """)

    ids = [f"test[py={py},os-name={os}]" for py in ("3.11", "3.12") for os in ("linux", "mac")]
    assert [job.id for job in pipeline.jobs] == ["before", *ids, "after"]
    test = pipeline.jobs[2]
    assert test.command == "tox -e 3.11"
    assert test.matrix == {"py": "3.11", "os-name": "mac"}
    assert test.env == {"MATRIX_PY": "3.11", "MATRIX_OS_NAME": "mac", "TAG": "3.11-mac"}
    assert pipeline.jobs[-1].needs == ("before", *ids)
    assert pipeline.jobs[-1].inputs == tuple(ids)


def test_one_combination_can_be_needed() -> None:
    pipeline = spec_of("""\
        jobs:
          - {id: build, command: b, matrix: {os: [linux, mac]}}
          - id: test
            command: t
            matrix: {os: [linux, mac]}
            needs: ["build[os=${{ matrix.os }}]"]
        """)

    assert [job.needs for job in pipeline.jobs[2:]] == [("build[os=linux]",), ("build[os=mac]",)]


def test_the_values_of_a_matrix_may_come_from_parameters() -> None:
    pipeline = with_params("jobs:\n- {id: a, command: b, matrix: {v: ['${{ params.version }}']}}\n")

    assert [job.id for job in pipeline.jobs] == ["a[v=1.10]"]


def test_mistakes_of_a_job_with_a_matrix_are_told_once_and_where_they_stand() -> None:
    found = mistakes_of("""\
        jobs:
          - id: a
            matrix: {n: [1, 2]}
            command: echo ${{ matrix.m }}
            colour: red
          - {id: b, command: c, needs: [a, d]}
        """)

    assert found == [
        (4, "the matrix has no 'm'"),
        (5, "unknown field 'colour'"),
        (6, "job 'b' needs 'd', which does not exist"),
    ]


def test_a_matrix_with_too_many_jobs_is_refused_before_they_are_made() -> None:
    axes = ", ".join(f"a{n}: [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]" for n in range(9))

    [(_, message)] = mistakes_of(f"jobs: [{{id: a, command: b, matrix: {{{axes}}}}}]")

    assert message == "with its 1,000,000,000 jobs the pipeline has more than 100,000"


def test_variables_are_written_out_after_their_layers_merged() -> None:
    pipeline = load_text(
        "env: {ROOT: /srv, OUT: '${ROOT}/out', HOST: '${UNKNOWN}'}\n"
        "jobs:\n- {id: a, command: b}\n- {id: c, command: d, env: {ROOT: /tmp, X: '${OUT}/x'}}\n"
        "- {id: e, command: f, env: {Y: '${ROOT}'}}\n",
        env={"HOST": "here"},
    ).spec

    assert pipeline.env == {"ROOT": "/srv", "OUT": "/srv/out", "HOST": "here"}
    a, c, e = pipeline.jobs
    assert a.env == {}
    assert c.env == {"ROOT": "/tmp", "X": "/tmp/out/x", "OUT": "/tmp/out"}
    assert e.env == {"Y": "/srv"}


def test_the_command_line_wins_over_a_jobs_own_variable() -> None:
    text = "env: {A: pipeline}\njobs: [{id: a, command: b, env: {A: job, B: '${A}'}}]\n"

    pipeline = load_text(text, env={"A": "line"}).spec

    assert pipeline.env == {"A": "line"}
    assert pipeline.jobs[0].env == {"A": "line", "B": "line"}


def test_a_variable_that_names_itself_means_the_one_below() -> None:
    pipeline = spec_of("""\
        env: {PATH: "/opt:${PATH}", A: base}
        jobs: [{id: a, command: b, env: {A: "${A}/more"}}]
        """)

    assert pipeline.env["PATH"] == "/opt:${PATH}"  # left for the worker
    assert pipeline.jobs[0].env == {"A": "base/more"}


def test_variables_are_written_out_where_no_shell_would_do_it() -> None:
    job = job_of("""\
        env: {OUT: /srv/out}
        jobs:
          - id: a
            command: ls ${OUT}
            working_dir: ${OUT}/a
            artifacts: ["${NAME}/*.csv"]
            env: {NAME: b}
            post_checks: [{name: exists, params: {paths: ["${OUT}/x"], size: 3}}]
        """)

    assert job.command == "ls ${OUT}"
    assert job.working_dir == "/srv/out/a"
    assert job.artifacts == ("b/*.csv",)
    assert job.post_checks[0].params == {"paths": ["/srv/out/x"], "size": 3}


def test_circles_of_variables_are_told_as_paths_at_their_lines() -> None:
    found = mistakes_of("""\
        env:
          A: ${B}
          B: ${C}
          C: ${A}
          X: ${Y}
          Y: ${X}
        jobs: [{id: a, command: b}]
        """)

    assert found == [
        (2, "variables go in a circle: A → B → C → A"),
        (5, "variables go in a circle: X → Y → X"),
    ]


def test_a_circle_that_a_job_closes_is_told_there() -> None:
    found = mistakes_of("""\
        env: {A: "${B}", B: "x"}
        jobs:
          - {id: fine, command: b}
          - id: bad
            command: b
            env:
              B: ${A}
        """)

    assert found == [(7, "variables go in a circle: B → A → B")]
