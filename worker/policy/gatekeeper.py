"""Everything that an attempt would start, held against the worker's policy and its pipeline's."""

import json
import sys
from collections.abc import Awaitable, Callable, Iterator, Sequence
from pathlib import Path
from typing import Final

from shared.protocol.gateway import RunContext
from shared.protocol.pipeline import CheckSpec, SecuritySpec
from shared.runtime import Runtime
from worker.checks.shipped import COMMAND
from worker.policy.judge import (
    Finding,
    Judgement,
    is_idle,
    judge,
    listed,
    outside_workspaces,
    whole_command,
)
from worker.policy.patterns import BAD_PATTERN, FIRST_UNMATCHED, MATCHING_S, TOO_LONG
from worker.ports import AttemptFiles, Exit, Launch

SHELL: Final = "/bin/sh"
PROGRAM: Final = str(Path(__file__).parent / "patterns.py")


class Forbidden(Exception):
    """Nothing of the attempt may be started; the message names the rule and the remedy."""


Run = Callable[[Launch], Awaitable[Exit]]
Command = tuple[str, tuple[str, ...]]  # what it is, and its words


class Gatekeeper:
    """The policies that bind one attempt."""

    def __init__(self, of_worker: SecuritySpec, context: RunContext) -> None:
        both = (("this worker", of_worker), ("the pipeline", context.security))
        self._policies = [(owner, p) for owner, p in both if p is not None and not is_idle(p)]

    @property
    def is_idle(self) -> bool:
        """Whether they allow everything."""
        return not self._policies

    async def admit(
        self, context: RunContext, files: AttemptFiles, runtime: Runtime, run: Run
    ) -> tuple[RunContext, Sequence[str]]:
        """What may be started, and what is to be said of it. Forbidden: a policy objects.

        `run` is for patterns: one that takes for ever is stopped in a process, and not here.
        """
        commands = _commands_of(context)
        judgements: list[Judgement] = []
        findings: list[tuple[str, Finding]] = []
        for what, argv in commands:
            # In a thread: a script of megabytes takes a while, and others have a turn meanwhile.
            judged = await runtime.offload(judge, argv, self._policies)
            judgements.append(judged)
            lifted = await self._lifted(judged, argv, files, run)
            findings += [(what, f) for f in judged.findings if f.owner not in lifted]
        places = outside_workspaces(str(files.cwd), str(files.log.parent), self._policies)
        findings += [("", finding) for finding in places]
        objections = [_said(what, f) for what, f in findings if f.is_binding]
        if objections:
            raise Forbidden(listed(objections))
        warnings = [_said(what, finding) for what, finding in findings]
        warnings += await self._match(commands, files, run)
        by_check = iter(judgements[1:])
        admitted = {
            "argv": judgements[0].argv,
            "pre_checks": tuple(_adapted(check, by_check) for check in context.pre_checks),
            "post_checks": tuple(_adapted(check, by_check) for check in context.post_checks),
        }
        return context.model_copy(update=admitted), warnings

    async def _lifted(
        self, judged: Judgement, argv: Sequence[str], files: AttemptFiles, run: Run
    ) -> set[str]:
        """Owners whose exempt patterns say that the command is fine."""
        found = set()
        objecting = {finding.owner for finding in judged.findings}
        for owner, policy in self._policies:
            if owner in objecting and policy.exempt_patterns:
                patterns = [policy.exempt_patterns]
                ended = await run(_matching("search", [whole_command(argv)], patterns, files))
                if ended.exit_code == 0:
                    found.add(owner)
        return found

    async def _match(
        self, commands: Sequence[Command], files: AttemptFiles, run: Run
    ) -> Sequence[str]:
        """What to warn of. Forbidden: a command matches none of a list, or nobody can tell."""
        lists = [(owner, policy) for owner, policy in self._policies if policy.allowed_patterns]
        if not lists:
            return []
        lists.sort(key=lambda entry: entry[1].policy == "warn")  # what binds is told first
        texts = [whole_command(argv) for _, argv in commands]
        patterns = [policy.allowed_patterns for _, policy in lists]
        ended = await run(_matching("fullmatch", texts, patterns, files))
        code = ended.exit_code
        if code == 0:
            return []
        if code is None or code < FIRST_UNMATCHED:
            raise Forbidden(f"{_trouble(ended)} (rule allowed-patterns; mend or simplify them)")
        at, which = divmod(code - FIRST_UNMATCHED, len(commands))
        owner, policy = lists[min(at, len(lists) - 1)]
        why = (
            f"{commands[which][0]} matches none of the patterns that {owner} allows "
            "(rule allowed-patterns; change it, or have a pattern added)"
        )
        if policy.policy != "warn":
            raise Forbidden(why)
        return [why]


def _matching(
    how: str, texts: Sequence[str], lists: Sequence[Sequence[str]], files: AttemptFiles
) -> Launch:
    plan = {"commands": texts, "lists": lists, "how": how}
    return Launch(
        argv=(sys.executable, "-I", "-S", PROGRAM),
        env={},
        cwd=files.cwd,
        log=files.log,
        stdin=json.dumps(plan).encode(),
    )


def _trouble(ended: Exit) -> str:
    if ended.exit_code == BAD_PATTERN:
        return "an allowed pattern is no regular expression"
    if ended.signal == TOO_LONG:
        return f"matching the allowed patterns took longer than {MATCHING_S} s"
    how = f"signal {ended.signal}" if ended.exit_code is None else f"exit code {ended.exit_code}"
    return f"the allowed patterns could not be matched: {how}"


def _commands_of(context: RunContext) -> list[Command]:
    """The job's own command first, then those of its checks in their order."""
    found: list[Command] = [("the command", context.argv)]
    for kind, checks in (("pre", context.pre_checks), ("post", context.post_checks)):
        argvs = [argv for check in checks if (argv := argv_of(check)) is not None]
        found += [(f"a {kind}-check's command", argv) for argv in argvs]
    return found


def argv_of(check: CheckSpec) -> tuple[str, ...] | None:
    """What a check would start. An own check may start anything; nobody knows."""
    command = check.params.get("command")
    if check.name != COMMAND or not command:
        return None
    if isinstance(command, str):
        return (SHELL, "-c", command)
    if isinstance(command, list) and all(isinstance(word, str) for word in command):
        return tuple(str(word) for word in command)
    return None  # the check itself will say what is wrong with it


def _adapted(check: CheckSpec, judgements: Iterator[Judgement]) -> CheckSpec:
    """The check with its command as it may be started."""
    argv = argv_of(check)
    if argv is None:
        return check
    judged = next(judgements).argv
    if judged == argv:
        return check
    return check.model_copy(update={"params": {**check.params, "command": list(judged)}})


def _said(what: str, finding: Finding) -> str:
    return f"{what}: {finding}" if what else str(finding)
