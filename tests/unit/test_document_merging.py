"""`extends` and `include`: several files are one document, and each mistake keeps its place."""

from pathlib import Path

import pytest

from drawbar.document import BadDocument, load
from drawbar.document.sources import MAX_NAMED
from shared.protocol.pipeline import OnError, PipelineSpec

A_JOB = "jobs: [{id: a, command: b}]\n"


def spec_of(folder: Path, files: dict[str, str], first: str = "p.yaml") -> PipelineSpec:
    write(folder, files)
    return load(folder / first).spec


def mistakes_of(folder: Path, files: dict[str, str]) -> list[tuple[str, int, str]]:
    """(file, line, message) of every mistake in the document that p.yaml begins."""
    write(folder, files)
    with pytest.raises(BadDocument) as caught:
        load(folder / "p.yaml")
    return [
        (str(Path(m.file).relative_to(folder)), m.line, m.message) for m in caught.value.mistakes
    ]


def write(folder: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def test_what_a_file_says_wins_over_what_it_extends_however_it_is_spelled(tmp_path: Path) -> None:
    pipeline = spec_of(
        tmp_path,
        {
            "base.yaml": "name: base\ndefault_timeout: 100\nenv: {A: base, B: base}\n" + A_JOB,
            "p.yaml": "extends: base.yaml\napplication_name: p\nenv_variables: {A: own}\n",
        },
    )

    assert pipeline.name == "p"
    assert pipeline.timeout_s == 100
    assert pipeline.env == {"A": "own", "B": "base"}


def test_jobs_merge_by_id_and_new_ones_follow(tmp_path: Path) -> None:
    pipeline = spec_of(
        tmp_path,
        {
            "base.yaml": "jobs:\n- {id: a, command: x, needs: [c], timeout: 5, max_retries: 1}\n"
            "- {id: c, command: y}\n",
            "p.yaml": "extends: base.yaml\njobs:\n- {id: d, command: z}\n"
            "- {name: a, script: [one, two], dependencies: [c, d], retry: {max: 4}}\n",
        },
    )

    a, c, d = pipeline.jobs
    assert (a.id, c.id, d.id) == ("a", "c", "d")
    assert (a.command, a.script) == (None, ("one", "two"))
    assert a.needs == ("c", "d")
    assert a.timeout_s == 5
    assert a.retry is not None
    assert a.retry.max == 4


def test_a_retry_block_and_flat_settings_are_one_mapping(tmp_path: Path) -> None:
    pipeline = spec_of(
        tmp_path,
        {
            "base.yaml": "retry: {max: 2, delay: 3s}\n" + A_JOB,
            "p.yaml": "extends: base.yaml\ndefault_max_retries: 5\n",
        },
    )

    assert (pipeline.retry.max, pipeline.retry.delay_s) == (5, 3.0)


def test_later_bases_win_over_earlier_ones(tmp_path: Path) -> None:
    pipeline = spec_of(
        tmp_path,
        {
            "one.yaml": "env: {A: one, B: one}\n" + A_JOB,
            "two.json": '{"env": {"B": "two"}, "fail_fast": true}',
            "p.yaml": "extends: [one.yaml, two.json]\non_error: stop\n",
        },
    )

    assert pipeline.env == {"A": "one", "B": "two"}
    assert pipeline.on_error is OnError.STOP


def test_nothing_takes_away_what_a_base_says(tmp_path: Path) -> None:
    pipeline = spec_of(
        tmp_path,
        {
            "base.yaml": "max_workers: 3\njobs: [{id: a, command: b, needs: [a]}]\n",
            "p.yaml": "extends: base.yaml\nmax_workers:\njobs: [{id: a, needs: null}]\n",
        },
    )

    assert pipeline.max_workers is None
    assert pipeline.jobs[0].needs == ()


@pytest.mark.parametrize(
    ("stages", "names"),
    [
        ("[ship]", ("ship",)),
        ("[{name: build, jobs: [{id: new, command: n}]}]", ("build", "ship")),
        ("[{name: test}]", ("build", "ship", "test")),
    ],
)
def test_names_of_stages_replace_and_stages_with_jobs_are_added(
    tmp_path: Path, stages: str, names: tuple[str, ...]
) -> None:
    pipeline = spec_of(
        tmp_path,
        {
            "base.yaml": "stages: [build, ship]\njobs: [{id: a, stage: ship, command: b}]\n",
            "p.yaml": f"extends: base.yaml\nstages: {stages}\n",
        },
    )

    assert pipeline.stages == names


def test_the_executioners_defaults_come_with_a_file_of_its_own(tmp_path: Path) -> None:
    pipeline = spec_of(
        tmp_path,
        {
            "base.json": '{"application_name": "x", "jobs": [{"id": "a", "command": "b"}]}',
            "p.yaml": "extends: base.json\nname: p\n",
        },
    )

    assert (pipeline.on_error, pipeline.max_workers) == (OnError.STOP, 1)


def test_an_included_file_adds_behind_and_below(tmp_path: Path) -> None:
    pipeline = spec_of(
        tmp_path,
        {
            "jobs/more.toml": 'stages = ["build", "ship"]\nenv = {A = "more", B = "more"}\n'
            '[[jobs]]\nid = "c"\nstage = "ship"\ncommand = "d"\n',
            "p.yaml": "include: [jobs/more.toml]\nenv: {A: own}\nstages: [build]\n"
            "jobs: [{id: a, stage: build, command: b}]\n",
        },
    )

    assert pipeline.stages == ("build", "ship")
    assert [job.id for job in pipeline.jobs] == ["a", "c"]
    assert pipeline.env == {"A": "own", "B": "more"}


def test_what_two_files_include_is_added_once(tmp_path: Path) -> None:
    pipeline = spec_of(
        tmp_path,
        {
            "common.yaml": "jobs: [{id: common, command: c}]\n",
            "one.yaml": "include: common.yaml\njobs: [{id: one, command: c}]\n",
            "two.yaml": "include: common.yaml\njobs: [{id: two, command: c}]\n",
            "p.yaml": "include: [one.yaml, two.yaml]\n",
        },
    )

    assert sorted(job.id for job in pipeline.jobs) == ["common", "one", "two"]


def test_paths_are_relative_to_the_file_that_names_them(tmp_path: Path) -> None:
    pipeline = spec_of(
        tmp_path,
        {
            "base.yaml": A_JOB,
            "sub/middle.yaml": "extends: ../base.yaml\nenv: {M: 1}\n",
            "p.yaml": "extends: sub/middle.yaml\n",
        },
    )

    assert pipeline.jobs[0].id == "a"


def test_a_mistake_is_told_with_its_own_file_and_line(tmp_path: Path) -> None:
    found = mistakes_of(
        tmp_path,
        {
            "sub/base.yaml": "timeout: soon\njobs:\n- {id: a, command: b}\n",
            "more.yaml": "jobs:\n- {id: a, command: c, colour: red}\n",
            "p.yaml": "extends: sub/base.yaml\ninclude: more.yaml\njobs:\n- {id: e, needs: [f]}\n",
        },
    )

    assert found == [
        (
            "p.yaml",
            4,
            "job 'e': give exactly one of command, script, argv or python (found none of them)",
        ),
        ("p.yaml", 4, "job 'e' needs 'f', which does not exist"),
        ("more.yaml", 2, "unknown field 'colour'"),
        (
            "sub/base.yaml",
            1,
            "timeout: expected a duration such as 90, 90s, 30m, 2h or 1d, found 'soon'",
        ),
    ]


def test_a_job_given_twice_names_the_other_file(tmp_path: Path) -> None:
    found = mistakes_of(tmp_path, {"more.yaml": A_JOB, "p.yaml": "include: more.yaml\n" + A_JOB})

    where = tmp_path / "p.yaml"
    assert found == [("more.yaml", 1, f"job id 'a' is used twice (see {where}:2)")]


def test_a_circle_of_files_is_told_as_a_path(tmp_path: Path) -> None:
    found = mistakes_of(
        tmp_path,
        {
            "p.yaml": "extends: a.yaml\n" + A_JOB,
            "a.yaml": "x-1: 1\ninclude: b.yaml\n",
            "b.yaml": "extends: [a.yaml]\n",
        },
    )

    assert found == [
        (
            "b.yaml",
            1,
            "extends: files name each other in a circle: a.yaml → b.yaml → a.yaml",
        )
    ]


@pytest.mark.parametrize(
    ("named", "said"),
    [
        ("gone.yaml", "extends: 'gone.yaml' cannot be read: no such file or directory"),
        ("/etc/passwd", "extends: '/etc/passwd': give a path relative to this file"),
        ("../outside.yaml", "extends: '../outside.yaml': lies outside of "),
        ("link.yaml", "extends: 'link.yaml': lies outside of "),
        ("folder", "extends: 'folder' cannot be read: it is no regular file"),
        ("'${HOME}/a.yaml'", "extends: files are put together before parameters and variables"),
        ("[[a]]", "extends: expected the path of a file"),
        ("{a: b}", "extends: expected a list of files"),
        ('"a\\0b"', "extends: 'a\\x00b': this is no name of a file"),
    ],
)
def test_a_file_that_cannot_be_a_part_is_a_mistake_where_it_is_named(
    tmp_path: Path, named: str, said: str
) -> None:
    (tmp_path / "outside.yaml").write_text(A_JOB)
    inside = tmp_path / "inside"
    (inside / "folder").mkdir(parents=True)
    (inside / "link.yaml").symlink_to("../outside.yaml")

    [(file, line, message)] = mistakes_of(inside, {"p.yaml": f"{A_JOB}extends: {named}\n"})

    assert (file, line) == ("p.yaml", 2)
    assert message.startswith(said)


def test_a_base_that_does_not_parse_is_a_mistake_in_its_own_file(tmp_path: Path) -> None:
    found = mistakes_of(
        tmp_path, {"p.yaml": "extends: base.json\n" + A_JOB, "base.json": '{\n"a": oops}'}
    )

    assert found == [("base.json", 2, "this is not JSON: expected a value, found 'o'")]


def test_an_included_file_cannot_change_the_rest(tmp_path: Path) -> None:
    found = mistakes_of(
        tmp_path,
        {"p.yaml": "include: more.yaml\n" + A_JOB, "more.yaml": "name: m\nx-1: 1\ntimeout: 5\n"},
    )

    message = "an included file adds jobs, stages, env and params; for 'timeout', extend it instead"
    assert found == [("more.yaml", 3, message)]


def test_files_that_name_each_other_too_deeply_or_too_often_are_refused(tmp_path: Path) -> None:
    deep = {f"f{i}.yaml": f"extends: f{i + 1}.yaml\n" for i in range(30)}
    often = {"p.yaml": f"include: [{', '.join(['b.yaml'] * (MAX_NAMED + 1))}]\n", "b.yaml": A_JOB}

    [(file, _, message)] = mistakes_of(tmp_path / "deep", {"p.yaml": "extends: f0.yaml\n", **deep})
    [(_, _, other)] = mistakes_of(tmp_path / "often", often)

    assert (file, message) == ("f14.yaml", "extends: files are nested deeper than 16")
    assert other == "include: 'b.yaml': more than 100 files are named"


def test_files_may_be_no_larger_together_than_one_alone(tmp_path: Path) -> None:
    large = "# " + "x" * 9_000_000 + "\n" + A_JOB
    [(_, _, message)] = mistakes_of(
        tmp_path, {"p.yaml": "extends: [a.yaml, b.yaml]\n", "a.yaml": large, "b.yaml": large}
    )

    assert message == "extends: 'b.yaml' is larger than 16 MiB together with the files before it"
