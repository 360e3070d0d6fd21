"""Documents that name functions, run as a person runs them."""

from pathlib import Path

from tests.support.cli import Command


def test_functions_beside_the_document_run_with_their_arguments(tmp_path: Path) -> None:
    drawbar = Command(tmp_path)
    drawbar.write("helper.py", "def say(x):\n    return f'said {x}'\n")
    drawbar.write(
        "work.py",
        "import helper\n"
        "from drawbar import task, xcom\n"
        "def first(x):\n    print(helper.say(x))\n    return x * 2\n"
        "@task\ndef second():\n    print('got', xcom.pull('a'))\n",
    )
    drawbar.write(
        "p.yaml",
        "params: {n: 4}\n"
        "jobs:\n"
        '  - {id: a, python: "work:first", with: {x: "${{ params.n }}"}}\n'
        '  - {id: b, python: "work:second", needs: [a]}\n'
        '  - {id: c, python: "platform:python_version"}\n'
        '  - {id: d, python: "no_such_module:f", allow_failure: true}\n',
    )

    ended = drawbar.json("run", "p.yaml")

    assert ended["status"] == "success"
    assert drawbar.run("logs", "1", "a").stdout == "said 4\n"
    assert drawbar.run("logs", "1", "b").stdout == "got 8\n"
    assert "no_such_module cannot be imported" in ended["jobs"][3]["reason"]["message"]
