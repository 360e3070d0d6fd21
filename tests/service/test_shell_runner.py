"""A task runner that is not ours: examples/shell-runner.sh speaks the protocol in POSIX shell."""

import hashlib
import io
import shutil
import zipfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from shared.protocol import execution as e
from shared.protocol.gateway import Outcome
from shared.protocol.pipeline import Argument, LiteralArgument, ResultArgument, TaskSpec
from tests.support.golden import ROOT
from tests.support.tasks import TaskStage

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("jq") is None, reason="jq is not installed (Debian: jq)"),
]
RUNNER = ("sh", str(ROOT / "examples" / "shell-runner.sh"))
OWN = "(own)"


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[TaskStage]:
    stage = TaskStage(tmp_path)
    yield stage
    await stage.close()


def task(stage: TaskStage, script: str, *args: Argument, function: str = "go") -> TaskSpec:
    """A function in a shell file that travels like a flow."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("tasks.sh", script)
    sha256 = hashlib.sha256(buffer.getvalue()).hexdigest()
    stage.execution.bundles[sha256] = buffer.getvalue()
    return TaskSpec(
        module="tasks", function=function, file="tasks.sh", bundle=sha256, args=args, runner=RUNNER
    )


async def test_it_asks_and_leaves_a_result(stage: TaskStage) -> None:
    stage.execution.variables["greeting"] = e.Variable(
        key="greeting", value='"hello"\nthere', is_secret=False
    )
    stage.execution.xcoms["who", "return_value"] = "wörld"
    script = """
        go() {
            ask get_variable '{"key": "greeting"}'
            printf 'greeting %s %s times\\n' "$2" "$1"
            result "$(printf '%s' "$answer" | jq -c --arg who "$2" '{text: .value, $who}')"
        }
    """

    ended = await stage.run(
        task(stage, script, LiteralArgument(value=3), ResultArgument(job="who"))
    )

    assert (ended.result.outcome, ended.result.exit_code) == (Outcome.EXITED, 0)
    assert stage.execution.xcoms[OWN, "return_value"] == {
        "text": '"hello"\nthere',
        "who": "wörld",
    }
    assert ended.log == "greeting wörld 3 times\n"


async def test_its_secrets_are_masked(stage: TaskStage) -> None:
    stage.execution.connections["db"] = e.Connection(name="db", kind="x", password="hunter22")
    script = """
        go() {
            ask get_connection '{"name": "db"}'
            printf '%s' "$answer" | jq -r .password
        }
    """

    ended = await stage.run(task(stage, script))

    assert ended.log == "***\n"


@pytest.mark.parametrize(
    ("script", "state"),
    [
        ("go() { skip 'nothing new'; }", e.Skip(reason="nothing new")),
        ("go() { return 3; }", e.Fail(reason="go returned 3")),
        ("go() { fail 'no use' false; }", e.Fail(reason="no use", may_retry=False)),
        ("go() { ask get_variable '{\"key\": 5}' || fail refused; }", e.Fail(reason="refused")),
    ],
)
async def test_it_can_end_in_every_way(
    stage: TaskStage, script: str, state: e.AttemptState
) -> None:
    ended = await stage.run(task(stage, script))

    assert ended.result.task == state


async def test_an_error_tells_its_code(stage: TaskStage) -> None:
    ended = await stage.run(task(stage, 'go() { ask get_variable \'{"key": "no"}\' || true; }'))

    assert ended.result.task == e.Succeed()
    assert ended.log == "unknown_variable: There is no variable of that name.\n"


async def test_one_that_ends_without_a_word_is_told_apart(stage: TaskStage) -> None:
    ended = await stage.run(task(stage, "go() { exit 0; }"))

    assert ended.result.outcome is Outcome.TASK_BROKEN
