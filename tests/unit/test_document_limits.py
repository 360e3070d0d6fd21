"""How documents say in what a job runs, and what it may take."""

import pytest

from drawbar.document import BadDocument, load_text
from shared.protocol.pipeline import (
    ContainerSpec,
    Limits,
    Pull,
)
from tests.support.documents import mistakes_of, spec_of

A_JOB = "jobs: [{id: a, command: b}]\n"


@pytest.mark.parametrize("spelling", ["image", "dockerImage"])
@pytest.mark.parametrize("jobs_own", ["image", "dockerImage"])
def test_a_job_has_its_own_image_or_the_pipelines(spelling: str, jobs_own: str) -> None:
    own = f"{{name: b, script: [x], {jobs_own}: 'python:3.12'}}"
    text = f"{spelling}: debian:12\njobs: [{{name: a, script: [x]}}, {own}]\n"

    assert [job.image for job in spec_of(text).jobs] == ["debian:12", "python:3.12"]


def test_a_jobs_container_is_run_as_it_says_and_otherwise_as_its_pipeline_says() -> None:
    text = "image: a:1\ncontainer: {network: none, user: app}\njobs:\n"
    own = "  - {id: a, command: b, container: {user: root, pull: always}}\n"
    both = spec_of(text + own + "  - {id: c, command: d}\n").jobs

    assert [job.container for job in both] == [
        ContainerSpec(network="none", user="root", pull=Pull.ALWAYS),
        ContainerSpec(network="none", user="app"),
    ]


@pytest.mark.parametrize(
    ("job", "says"),
    [
        ("container: {pull: never}", "container says how a container is run, but the job has no"),
        ("image: a, container: {network: 'container:x'}", "container.network: must be none, host"),
        ("image: a, container: {workspace: /a/../b}", "container.workspace: must be an absolute"),
        ("image: a, container: {user: 'a:b:c'}", "container.user: must be a user, or user:group"),
        ("image: a, container: {pull: often}", "expected always or missing or never"),
        ("image: a, container: {mount: /}", "unknown field 'mount'"),
    ],
)
def test_a_container_that_cannot_be_is_told(job: str, says: str) -> None:
    with pytest.raises(BadDocument, match=says):
        load_text(f"jobs: [{{id: a, command: b, {job}}}]", "p.yaml")


def test_a_job_asks_for_no_image_unless_its_document_does() -> None:
    assert spec_of(A_JOB).jobs[0].image is None


def test_a_job_has_the_limits_that_it_names_and_the_pipelines_others() -> None:
    jobs = spec_of("""\
        limits: {memory: 2G, pids: 100}
        jobs:
          - {id: a, command: b, limits: {memory: 512M, cpus: 1.5, nice: 3}}
          - {id: c, command: d}
        """).jobs

    own = Limits(memory_bytes=512 * 1024**2, cpus=1.5, pids=100, nice=3)
    assert [job.limits for job in jobs] == [own, Limits(memory_bytes=2 * 1024**3, pids=100)]


def test_a_job_that_names_no_limits_has_none() -> None:
    assert spec_of(A_JOB).jobs[0].limits is None


@pytest.mark.parametrize(
    ("said", "size_bytes"),
    [
        ("1048576", 2**20),
        ("1024K", 2**20),
        ("1.5G", 3 * 2**29),
        ("1 GiB", 2**30),
        ("2MB", 2_000_000),
        ("1T", 2**40),
    ],
)
def test_a_size_may_have_a_unit(said: str, size_bytes: int) -> None:
    limits = spec_of(f"limits: {{file_size: {said}}}\n{A_JOB}").jobs[0].limits

    assert limits == Limits(file_size_bytes=size_bytes)


@pytest.mark.parametrize(
    ("said", "mistake"),
    [
        (
            "{memory: 5X}",
            "limits.memory: expected a size such as 1048576, 512M or 1.5G, found '5X'",
        ),
        ("{memory: 1K}", "limits.memory: must be at least 1,048,576"),
        ("{cpus: 0}", "limits.cpus: must be at least 0.01"),
        ("{nice: -1}", "limits.nice: must be at least 0"),
        ("{pid: 3}", "unknown field 'pid' (did you mean 'pids'?)"),
        (
            "[1]",
            "limits: expected a mapping such as {memory: 512M, cpus: 1.5}, found a list",
        ),
    ],
)
def test_a_limit_that_means_nothing_is_a_mistake(said: str, mistake: str) -> None:
    assert mistakes_of(f"limits: {said}\n{A_JOB}") == [(1, mistake)]
    assert mistakes_of(f"jobs: [{{id: a, command: b, limits: {said}}}]\n") == [(1, mistake)]
