"""Documents that are huge or made to explode: a pipeline or a clear mistake, soon, in few bytes."""

import subprocess
import sys
import time

import pytest

from drawbar.document import load_text
from tests.support.documents import mistakes_of, spec_of

A_JOB = "jobs: [{id: a, command: b}]\n"
TOO_LONG = "is longer than 131,072 characters when written out"
TOO_MUCH = "with everything filled in, the document is larger than 64 MiB"


@pytest.mark.slow
def test_a_job_may_need_fifty_thousand_others() -> None:
    jobs = "".join(f"- {{id: j{i}, command: t}}\n" for i in range(50_000))
    needs = ",".join(f"j{i}" for i in range(50_000))

    pipeline = spec_of(f"jobs:\n{jobs}- {{id: last, command: t, needs: [{needs}]}}\n")

    assert len(pipeline.jobs[-1].needs) == 50_000


@pytest.mark.slow
def test_a_chain_may_be_ten_thousand_jobs_long() -> None:
    jobs = "".join(f"- {{id: j{i}, command: t, needs: [j{i + 1}]}}\n" for i in range(10_000))

    assert len(spec_of(f"jobs:\n{jobs}- {{id: j10000, command: t}}\n").jobs) == 10_001


@pytest.mark.slow
def test_a_matrix_may_have_twenty_thousand_values() -> None:
    values = ",".join(map(str, range(20_000)))

    pipeline = spec_of(
        f"jobs: [{{id: a, command: 'b ${{{{ matrix.n }}}}', matrix: {{n: [{values}]}}}}]"
    )

    assert pipeline.jobs[-1].command == "b 19999"


@pytest.mark.slow
def test_a_pipeline_may_have_a_hundred_thousand_jobs_and_not_one_more() -> None:
    # In a process of its own: what it needs at most is what the kernel says of it.
    program = """
import resource, sys
from drawbar.document import BadDocument, load_text
for count in (100_000, 100_001):
    text = "jobs:\\n" + "".join(f"- {{id: j{i}, command: t}}\\n" for i in range(count))
    try:
        print(len(load_text(text).spec.jobs))
    except BadDocument as bad:
        print(bad.mistakes[0].message)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)

    jobs, refusal, mib = done.stdout.decode().splitlines()
    assert jobs == "100000"
    assert refusal == "jobs: has 100,001 items; at most 100,000 are allowed"
    assert int(mib) < 700


def test_fifty_megabytes_are_refused_unread() -> None:
    began = time.monotonic()

    [(_, message)] = mistakes_of(b"#" * 50_000_000)

    assert message == "is larger than 16 MiB"
    assert time.monotonic() - began < 1


def test_toml_has_a_smaller_limit() -> None:
    [(_, message)] = mistakes_of("#" * 3_000_000, "p.toml")

    assert message == "is larger than 2 MiB, the most for TOML; write it as YAML or JSON"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "env:\n"
            + "".join(f"  A{i}: '{f'${{A{i + 1}}}' * 10}'\n" for i in range(12))
            + "  A12: x\n"
            + A_JOB,
            f"A6: {TOO_LONG}",
        ),
        (f"env: {{A: {'x' * 131_000}, B: '{'${A}' * 32_000}'}}\n{A_JOB}", f"B: {TOO_LONG}"),
        (
            f"env: {{A: {'x' * 131_000}}}\n"
            f"jobs: [{{id: a, command: b, working_dir: '{'${A}' * 32_000}'}}]",
            f"working_dir: {TOO_LONG}",
        ),
        (
            f"params: {{p: {'x' * 100_000}}}\njobs:\n"
            + "".join(f"- {{id: j{i}, command: '${{{{ params.p }}}}'}}\n" for i in range(1_000)),
            TOO_MUCH,
        ),
        (
            f"env: {{A: {'x' * 100_000}}}\njobs:\n"
            + "".join(f"- {{id: j{i}, command: c, artifacts: ['${{A}}']}}\n" for i in range(1_000)),
            TOO_MUCH,
        ),
        (
            "env:\n  A: x\n"
            + "".join(f"  B{i}: '${{A}}'\n" for i in range(1_000))
            + "jobs:\n"
            + "".join(f"- {{id: j{i}, command: t, env: {{A: y}}}}\n" for i in range(2_000)),
            TOO_MUCH,
        ),
        (
            f"jobs:\n- {{id: a, command: b, matrix: {{n: [{','.join(map(str, range(2_000)))}]}}}}\n"
            f"- {{id: c, command: d, needs: a, "
            f"matrix: {{n: [{','.join(map(str, range(2_000)))}]}}}}\n",
            "the pipeline has more than 1,000,000 dependencies",
        ),
    ],
    ids=["nested", "wide", "text", "params", "artifacts", "jobs", "needs"],
)
def test_what_grows_beyond_bounds_when_it_is_filled_in_is_refused(text: str, message: str) -> None:
    assert message in [found for _, found in mistakes_of(text)]


def test_a_long_chain_of_variables_is_no_deeper_than_any_other() -> None:
    env = "".join(f"  A{i}: ${{A{i + 1}}}\n" for i in range(20_000))

    assert load_text(f"env:\n{env}  A20000: x\n{A_JOB}").spec.env["A0"] == "x"


def test_templates_that_never_end_are_no_templates() -> None:
    [job] = spec_of("jobs: [{id: a, command: '" + "${{ " * 30_000 + "'}]").jobs

    assert job.command == "${{ " * 30_000
