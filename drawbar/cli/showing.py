"""Commands and variables as a plan shows them: filled in, and without secrets. Pure."""

import re
import shlex
from collections.abc import Mapping, Sequence
from typing import Final

from shared.logs import HIDDEN, is_secret
from shared.protocol.pipeline import JobSpec, PipelineSpec

# What a shell leaves alone (single quotes, what a backslash protects), and what it fills in.
_WORD: Final = re.compile(
    r"(?P<kept>\\.|'[^']*')|(?P<double>\"(?:\\.|[^\"\\])*\")"
    r"|\$\{(?P<braced>[A-Za-z_]\w*)\}|\$(?P<plain>[A-Za-z_]\w*)",
    re.DOTALL,
)
_IN_DOUBLE: Final = re.compile(
    r"(?P<kept>\\.)|\$\{(?P<braced>[A-Za-z_]\w*)\}|\$(?P<plain>[A-Za-z_]\w*)", re.DOTALL
)
# --password=…, --token …, and user:password@ in a URL.
_OPTION: Final = re.compile(
    r"(?i)(--?[\w-]*(?:token|secret|passw|credential|api[-_]?key)[\w-]*[= ])"
    r"(\"[^\"]*\"|'[^']*'|[^\s'\"]+)"
)
_IN_URL: Final = re.compile(r"(?<=://)([^/\s:@]*):[^/\s@]+@")
SHORTEST_SECRET: Final = 4  # shorter values would hide pieces of unrelated words


def environment(spec: PipelineSpec, job: JobSpec) -> dict[str, str]:
    """The variables that the document gives the job."""
    return {**spec.env, **job.env}


def shown_environment(env: Mapping[str, str]) -> dict[str, str]:
    """The same, with what is secret by its name hidden."""
    secrets = _secrets(env)
    return {
        name: HIDDEN if is_secret(name) else _masked(value, secrets) for name, value in env.items()
    }


def shown_lines(job: JobSpec, env: Mapping[str, str]) -> list[str]:
    """The lines that the job runs; what is secret in them is hidden."""
    secrets = _secrets(env)
    shown = {name: HIDDEN if is_secret(name) else value for name, value in env.items()}
    return [_masked(_filled(line, shown), secrets) for line in _lines(job)]


def _lines(job: JobSpec) -> list[str]:
    if job.task is not None:
        over = f" for each of {', '.join(job.task.mapped)}" if job.task.mapped else ""
        return [f"{job.task.module}:{job.task.function}{over}"]
    if job.argv:
        # Quoted words: nothing fills variables in there, as nothing does when it runs.
        return [shlex.join(job.argv)]
    blocks: Sequence[str] = job.script or (job.command or "",)
    return [line for block in blocks for line in block.rstrip("\n").split("\n")]


def _filled(line: str, env: Mapping[str, str], pattern: re.Pattern[str] = _WORD) -> str:
    def fill(found: re.Match[str]) -> str:
        groups = found.groupdict()
        if groups["kept"]:
            return found.group()
        if groups.get("double"):
            return _filled(found.group(), env, _IN_DOUBLE)
        return env.get(groups["braced"] or groups["plain"], found.group())

    return pattern.sub(fill, line)


def _secrets(env: Mapping[str, str]) -> list[str]:
    """Values that are secret, longest first: one may be part of another."""
    found = {v for name, v in env.items() if is_secret(name) and len(v) >= SHORTEST_SECRET}
    return sorted(found, key=lambda value: (-len(value), value))


def _masked(text: str, secrets: Sequence[str]) -> str:
    for secret in secrets:
        text = text.replace(secret, HIDDEN)
    text = _OPTION.sub(lambda found: found.group(1) + HIDDEN, text)
    return _IN_URL.sub(lambda found: f"{found.group(1)}:{HIDDEN}@", text)
