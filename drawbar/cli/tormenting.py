"""What `drawbar chaos` does."""

import asyncio
import os
import shutil
import signal
import sys
from collections.abc import Coroutine, Mapping
from pathlib import Path
from tempfile import mkdtemp
from typing import Any, Final, TypeVar

import typer

from drawbar.cli.connect import checked_url
from drawbar.cli.failures import FAILED, Usage, say
from drawbar.cli.keys import make_token
from drawbar.cli.render.objects import write_json
from faults.chaos.attached import Attached
from faults.chaos.experiment import Experiment, Site
from faults.chaos.installation import Installation
from faults.chaos.minimize import minimized
from faults.chaos.plan import ChaosPlan, chaos_plan_from, write_plan
from faults.chaos.recorder import Recorder
from faults.chaos.report import as_object, as_text, failures
from faults.chaos.story import Story
from faults.chaos.timeline import timeline
from faults.chaos.verdict import Verdict, verdicts_of
from shared import logs
from shared.errors import Misconfigured
from shared.runtime import Runtime, SystemRuntime

T = TypeVar("T")

PROGRAM: Final = (sys.executable, "-c", "from drawbar.cli.main import main; main()")


class _Trials:
    """Runs plans, each in a folder of its own beneath `folder`."""

    def __init__(
        self, folder: Path, runtime: Runtime, urls: Mapping[str, str], data: Path | None
    ) -> None:
        self._folder = folder
        self._runtime = runtime
        self._urls = dict(urls)
        self._data = data
        self._count = 0

    async def run(self, plan: ChaosPlan) -> tuple[Story, list[Verdict], Path]:
        """What came of it, and where it is kept. SIGTERM ends it as Ctrl-C does, with all that
        it has started."""
        this = asyncio.current_task()
        assert this is not None
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, this.cancel)
        folder = self._folder if self._count == 0 else self._folder / f"trial-{self._count}"
        self._count += 1
        folder.mkdir(parents=True, exist_ok=True)
        prefix = f"{plan.name}-{self._runtime.new_id()[:13]}"

        def site(recorder: Recorder) -> Site:
            if self._urls:
                token = os.environ.get("DRAWBAR_TOKEN") or make_token(
                    "admin", "chaos", 1.0, self._data
                )
                return Attached(plan, self._urls, token, recorder, self._runtime)
            return Installation(plan, folder, PROGRAM, recorder, self._runtime)

        write_plan(plan, folder / "plan.yaml")
        experiment = Experiment(plan, folder, self._runtime, _tell, prefix)
        story = await experiment.run(site)
        verdicts = verdicts_of(story)
        (folder / "timeline.html").write_text(timeline(story, verdicts))
        return story, verdicts, folder


def torment(
    file: Path,
    seed: int | None,
    duration_s: float | None,
    keep: Path | None,
    urls: Mapping[str, str | None],
    data: Path | None,
    *,
    minimizes: bool,
    as_json: bool,
) -> int:
    """The exit code: 0 when what the plan expects was put to the test and nothing broke."""
    try:
        plan = chaos_plan_from(file)
    except Misconfigured as mistake:
        raise Usage(mistake.message) from None
    changes = {"seed": seed, "duration_s": duration_s}
    plan = plan.model_copy(update={k: v for k, v in changes.items() if v is not None})
    runtime = SystemRuntime()
    logs.configure(runtime, level="error")
    trials = _Trials(_folder(keep), runtime, _checked(urls), data)
    story, verdicts, folder = _finish(trials.run(plan))
    found = failures(story, verdicts)
    if as_json:
        write_json({**as_object(story, verdicts), "folder": str(folder)})
    else:
        typer.echo(as_text(story, verdicts))
    if found and minimizes:
        _minimize(plan, verdicts, trials, folder)
    if found or keep is not None:
        say(f"kept in {folder}: timeline.html, history.jsonl, logs/", prefix="")
    else:
        shutil.rmtree(folder)
    return FAILED if found else 0


def _minimize(plan: ChaosPlan, verdicts: list[Verdict], trials: _Trials, folder: Path) -> None:
    broken = {v.promise for v in verdicts if v.word == "broken"}
    if not broken:
        say("nothing is broken: there is nothing to minimize")
        return

    async def fails(smaller: ChaosPlan) -> bool:
        say(f"trying {len(smaller.steps)} of {len(plan.steps)} steps", prefix="")
        _, found, _ = await trials.run(smaller)
        return bool(broken & {v.promise for v in found if v.word == "broken"})

    smallest = _finish(minimized(plan, fails))
    path = folder / "minimized.yaml"
    write_plan(smallest, path)
    say(f"{len(smallest.steps)} of {len(plan.steps)} steps are enough: {path}", prefix="")


def _finish(work: Coroutine[Any, Any, T]) -> T:
    """What came of it. KeyboardInterrupt: somebody wanted it to end."""
    try:
        return asyncio.run(work)
    except asyncio.CancelledError:
        raise KeyboardInterrupt from None


def _folder(keep: Path | None) -> Path:
    if keep is None:
        return Path(mkdtemp(prefix="drawbar-chaos-"))
    keep = keep.absolute()
    if keep.exists() and (not keep.is_dir() or any(keep.iterdir())):
        raise Usage(f"--keep: {keep} is not an empty folder")
    try:
        keep.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise Usage(f"--keep: {keep} cannot be made: {error.strerror}") from None
    return keep


def _checked(urls: Mapping[str, str | None]) -> dict[str, str]:
    given = {name: url for name, url in urls.items() if url is not None}
    if given and len(given) < len(urls):
        missing = ", ".join(f"--{name}" for name in urls if name not in given)
        raise Usage(f"to attach to a cluster, give all three URLs; {missing} is missing")
    for name, url in given.items():
        checked_url(f"--{name}", url)
    return given


def _tell(line: str) -> None:
    say(line, prefix="")
