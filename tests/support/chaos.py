"""`drawbar chaos` as a person types it; a bug may be planted into the daemons that it starts."""

import asyncio
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

from tests.support.daemons import DRAWBAR

LIMIT_S: Final = 880.0
# Python runs a file of this name when it starts. Only daemons get the bug, jobs and people do not.
PLANT: Final = """
import os, sys
if {daemon!r} in sys.orig_argv:
    from simulation.mutants.catalogue import MUTANTS
    planted = MUTANTS[{mutant!r}]()
    planted.__enter__()
"""


@dataclass(frozen=True)
class Chaos:
    """What it came to."""

    code: int
    told: dict[str, Any]
    text: str  # what it said on the way
    folder: Path

    @property
    def breaches(self) -> dict[str, list[str]]:
        """By promise."""
        verdicts = self.told["verdicts"]
        return {v["promise"]: v["breaches"] for v in verdicts if v["breaches"]}

    def seen(self, promise: str) -> dict[str, int]:
        return next(v["seen"] for v in self.told["verdicts"] if v["promise"] == promise)


async def run_chaos(
    folder: Path,
    plan: dict[str, Any],
    *flags: str,
    mutant: tuple[str, str] | None = None,
    **env: str,
) -> Chaos:
    """It ran to its end. `mutant`: the daemon, and the bug of simulation/mutants/ that it has."""
    (folder / "plan.yaml").write_text(yaml.safe_dump(plan))
    environment = {**os.environ, **env}
    if mutant is not None:
        daemon, name = mutant
        (folder / "planted").mkdir()
        (folder / "planted/sitecustomize.py").write_text(PLANT.format(daemon=daemon, mutant=name))
        environment["PYTHONPATH"] = str(folder / "planted")
    words = ("chaos", str(folder / "plan.yaml"), "--keep", str(folder / "kept"), "--json", *flags)
    process = await asyncio.create_subprocess_exec(
        DRAWBAR,
        *words,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=environment,
    )
    try:
        async with asyncio.timeout(LIMIT_S):
            out, err = await process.communicate()
    except BaseException:
        if process.returncode is None:
            process.terminate()
            await process.wait()
        raise
    assert process.returncode is not None
    text = err.decode()
    assert out, text
    return Chaos(process.returncode, json.loads(out), text + out.decode(), folder / "kept")
