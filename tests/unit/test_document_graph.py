"""Graphs as people and tools see them; the pictures themselves are golden files."""

import pytest

from drawbar.document.graph import FORMATS, layers, render_graph
from tests.support.documents import spec_of
from tests.support.golden import assert_golden

STAGED = """\
name: release "1.0"
stages: [check, build, unused, publish]
jobs:
- {id: style, stage: check, command: x, allow_failure: true}
- {id: types, stage: check, command: x}
- {id: 'wheel <"a\\b">', stage: build, command: x, needs: [types, style]}
- {id: docs, stage: build, command: x, needs: ['wheel <"a\\b">']}
- {id: upload, stage: publish, command: x}
"""


@pytest.mark.parametrize("format", list(FORMATS))
def test_the_golden_picture_of_stages(format: str) -> None:
    assert_golden(f"graph_staged.{format}", render_graph(spec_of(STAGED), format))


def test_the_golden_picture_of_ten_layers() -> None:
    jobs = "".join(
        f"- {{id: step-{layer}-{i}, command: x, needs: [{needs}]}}\n"
        for layer in range(10)
        for i in range(5)
        for needs in [", ".join(f"step-{layer - 1}-{k % 5}" for k in range(i, i + 2) if layer)]
    )

    picture = render_graph(spec_of("name: layered\njobs:\n" + jobs), "text")

    assert_golden("graph_layered.text", picture)


def test_a_job_stands_below_everything_that_it_waits_for() -> None:
    ranks = layers(spec_of(STAGED))

    assert [[job.id for job in rank] for rank in ranks] == [
        ["style", "types"],
        ['wheel <"a\\b">'],
        ["docs"],
        ["upload"],
    ]


def test_a_long_list_of_dependencies_is_counted() -> None:
    names = [f"a-rather-long-name-{i}" for i in range(50)]
    jobs = "".join(f"- {{id: {name}, command: x}}\n" for name in names)

    picture = render_graph(
        spec_of(f"jobs:\n{jobs}- {{id: last, command: x, needs: [{', '.join(names)}]}}"), "text"
    )

    last = picture.splitlines()[-1]
    assert last.endswith("a-rather-long-name-1 and 48 more")
    assert len(last) <= 100


def test_names_cannot_command_a_terminal() -> None:
    picture = render_graph(spec_of('jobs: [{id: "a\\x9b31m\\x7f", command: x}]'), "text")

    assert "a\\x9b31m\\x7f" in picture


def test_a_chain_longer_than_the_stack_is_drawn() -> None:
    jobs = "".join(f"- {{id: j{i}, command: x, needs: [j{i + 1}]}}\n" for i in range(3_000))

    picture = render_graph(spec_of(f"jobs:\n{jobs}- {{id: j3000, command: x}}"), "text")

    assert "3001 jobs, 3001 layers" in picture


def test_an_unknown_format_names_those_that_there_are() -> None:
    with pytest.raises(ValueError, match="there are text, mermaid, dot"):
        render_graph(spec_of(STAGED), "png")
