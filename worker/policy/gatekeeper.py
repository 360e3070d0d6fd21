"""Everything that an attempt would start, held against the worker's policy and its pipeline's."""

import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
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


@dataclass(frozen=True, slots=True)
class Matching:
    """Commands that have yet to be matched against lists of patterns, in a process of its own.

    A pattern that takes for ever is stopped there, and not here.
    """

    commands: Sequence[tuple[str, str]]  # what it is, and its text
    lists: Sequence[tuple[str, SecuritySpec]]

    def launch(self, files: AttemptFiles) -> Launch:
        plan = {
            "commands": [text for _, text in self.commands],
            "lists": [policy.allowed_patterns for _, policy in self.lists],
        }
        return Launch(
            argv=(sys.executable, "-I", "-S", PROGRAM),
            env={},
            cwd=files.cwd,
            log=files.log,
            stdin=json.dumps(plan).encode(),
        )

    def judge(self, ended: Exit) -> str | None:
        """What to warn of. Forbidden: a command matches none of a list, or nobody can tell."""
        code, is_binding = ended.exit_code, True
        if code == 0:
            return None
        if code is not None and code >= FIRST_UNMATCHED:
            at, which = divmod(code - FIRST_UNMATCHED, len(self.commands))
            owner, policy = self.lists[min(at, len(self.lists) - 1)]
            is_binding = policy.policy != "warn"
            why = (
                f"{self.commands[which][0]} matches none of the patterns that {owner} allows "
                "(rule allowed-patterns; change it, or have a pattern added)"
            )
        elif code == BAD_PATTERN:
            why = "an allowed pattern is no regular expression (rule allowed-patterns; mend it)"
        elif ended.signal == TOO_LONG:
            why = (
                f"matching the allowed patterns took longer than {MATCHING_S} s "
                "(rule allowed-patterns; simplify them)"
            )
        else:
            how = f"signal {ended.signal}" if code is None else f"exit code {code}"
            why = f"the allowed patterns could not be matched, {how} (rule allowed-patterns)"
        if is_binding:
            raise Forbidden(why)
        return why


@dataclass(frozen=True, slots=True)
class Judged:
    """What may be started, what is to be said of it, and what has yet to be looked at."""

    context: RunContext
    warnings: Sequence[str]
    matching: Matching | None


class Gatekeeper:
    """The policies that bind one attempt."""

    def __init__(self, of_worker: SecuritySpec, context: RunContext) -> None:
        both = (("this worker", of_worker), ("the pipeline", context.security))
        self._policies = [(owner, p) for owner, p in both if p is not None and not is_idle(p)]

    @property
    def is_idle(self) -> bool:
        """Whether they allow everything."""
        return not self._policies

    async def judge(self, context: RunContext, files: AttemptFiles, runtime: Runtime) -> Judged:
        """Forbidden: a policy objects."""
        # In a thread: a script of megabytes takes a while, and others have a turn meanwhile.
        commands = [("the command", context.argv)]
        for kind, checks in (("pre", context.pre_checks), ("post", context.post_checks)):
            argvs = [argv for check in checks if (argv := argv_of(check)) is not None]
            commands += [(f"a {kind}-check's command", argv) for argv in argvs]
        findings: list[tuple[str, Finding]] = []
        judgements: list[Judgement] = []
        for what, argv in commands:
            judged = await runtime.offload(judge, argv, self._policies)
            judgements.append(judged)
            findings += [(what, finding) for finding in judged.findings]
        places = outside_workspaces(str(files.cwd), str(files.log.parent), self._policies)
        findings += [("", finding) for finding in places]
        objections = [_said(what, f) for what, f in findings if f.is_binding]
        if objections:
            raise Forbidden(listed(objections))
        by_check = iter(judgements[1:])
        return Judged(
            context=context.model_copy(
                update={
                    "argv": judgements[0].argv,
                    "pre_checks": tuple(_adapted(c, by_check) for c in context.pre_checks),
                    "post_checks": tuple(_adapted(c, by_check) for c in context.post_checks),
                }
            ),
            warnings=[_said(what, finding) for what, finding in findings],
            matching=self._matching([(what, whole_command(argv)) for what, argv in commands]),
        )

    def _matching(self, commands: Sequence[tuple[str, str]]) -> Matching | None:
        lists = [(owner, policy) for owner, policy in self._policies if policy.allowed_patterns]
        lists.sort(key=lambda entry: entry[1].policy == "warn")  # what binds is told first
        return Matching(commands, lists) if lists else None


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
