"""Whether a command may be started here: the worker's policy first, then the pipeline's own.

Each binds by itself, so that a pipeline can only narrow what its worker allows.
"""

import os
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from shared.protocol.pipeline import SecuritySpec
from worker.policy.dangers import Danger, bare, dangers, shell_text
from worker.policy.shellwords import parse

# Commands that only a shell has, or that mean something else in one.
BUILTINS: Final = frozenset(
    {".", ":", "alias", "bg", "break", "builtin", "cd", "command", "continue", "declare", "eval"}
    | {"exec", "exit", "export", "fg", "hash", "jobs", "let", "local", "read", "readonly"}
    | {"return", "set", "shift", "source", "trap", "type", "ulimit", "umask", "unalias", "unset"}
    | {"wait", "[["}
)
MOST_SHOWN: Final = 5  # findings in one message


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that a policy objects to."""

    rule: str
    what: str
    remedy: str
    is_binding: bool  # the command is not started; else it is said in the job's log
    owner: str = ""  # whose level it is of, if it is of one: exempt patterns may lift it

    def __str__(self) -> str:
        return f"{self.what} (rule {self.rule}; {self.remedy})"


@dataclass(frozen=True, slots=True)
class Judgement:
    """What may be started, and what is to be said of it."""

    argv: tuple[str, ...]
    findings: tuple[Finding, ...]


def is_idle(policy: SecuritySpec | None) -> bool:
    """Whether a policy objects to nothing, ever."""
    return policy is None or (
        policy.allow_shell
        and policy.policy == "off"
        and not (policy.allowed_commands or policy.allowed_patterns or policy.workspaces)
    )


def judge(argv: Sequence[str], policies: Sequence[tuple[str, SecuritySpec]]) -> Judgement:
    """What the policies (each with its owner's name) say of a command.

    Of allowed patterns nothing is said here: matching them may take for ever, and is left to a
    process that can be killed.
    """
    findings: list[Finding] = []
    words: tuple[str, ...] | None = tuple(argv)
    for owner, policy in policies:
        if not policy.allow_shell and words is not None:
            words = _without_shell(words)
            if words is None:
                findings.append(_needs_shell(owner))
        findings += _looks_unsafe(argv, owner, policy)
        findings += _not_listed(argv, owner, policy)
    return Judgement(words or tuple(argv), tuple(findings))


def outside_workspaces(
    cwd: str, own_folder: str, policies: Sequence[tuple[str, SecuritySpec]]
) -> Iterator[Finding]:
    """Objections to a working directory. A folder that the worker made for the job is fine."""
    place = os.path.realpath(cwd)
    if _is_below(place, os.path.realpath(own_folder)):
        return
    for owner, policy in policies:
        roots = [os.path.realpath(root) for root in policy.workspaces]
        if roots and not any(_is_below(place, root) for root in roots):
            yield Finding(
                "workspace",
                f"the working directory {cwd!r} is outside of what {owner} allows",
                f"work below {' or '.join(policy.workspaces)}",
                policy.policy != "warn",
            )


def listed(objections: Sequence[str]) -> str:
    """The first few of them."""
    listed = "; ".join(objections[:MOST_SHOWN])
    more = len(objections) - MOST_SHOWN
    return listed + (f"; and {more} more" if more > 0 else "")


def _needs_shell(owner: str) -> Finding:
    return Finding(
        "no-shell",
        f"the command needs a shell, and {owner} allows none",
        "write a command without pipes, variables, wildcards and the like, or put it into a script",
        True,
    )


def _looks_unsafe(argv: Sequence[str], owner: str, policy: SecuritySpec) -> Iterator[Finding]:
    if policy.policy == "off" or _first_word(argv) in policy.exempt_commands:
        return
    found: dict[tuple[str, str], Danger] = {}
    for danger in dangers(argv, policy.level):
        found.setdefault((danger.rule, danger.what), danger)
    for danger in found.values():
        remedy = f"change the command; {owner} looks for this from level {danger.level} on"
        yield Finding(danger.rule, danger.what, remedy, policy.policy == "block", owner)


def _not_listed(argv: Sequence[str], owner: str, policy: SecuritySpec) -> Iterator[Finding]:
    """Objections to commands that are not in the list of those that may be used."""
    if not policy.allowed_commands:
        return
    text = shell_text(argv)
    is_binding = policy.policy != "warn"
    remedy = f"use what {owner} allows: {', '.join(policy.allowed_commands)}"
    names = list(argv[:1])
    if text is not None:
        script = parse(text)
        if script.substitutes or not script.is_whole:
            what = "a command with substitutions or open quotes cannot be held against a list"
            yield Finding("allowed-commands", what, remedy, is_binding)
        names = [words[0] for command in script.commands if (words := bare(command.words))]
    for name in dict.fromkeys(names):
        if name not in policy.allowed_commands:
            what = f"{name!r} is not among the commands that {owner} allows"
            yield Finding("allowed-commands", what, remedy, is_binding)


def _without_shell(argv: Sequence[str]) -> tuple[str, ...] | None:
    """The same command without a shell; None where it needs one."""
    text = shell_text(argv)
    if text is None:
        return tuple(argv)
    script = parse(text)
    if script.operators - {"\n"} or script.substitutes or script.expands or not script.is_whole:
        return None
    if len(script.commands) != 1 or script.commands[0].redirections:
        return None
    words = script.commands[0].words
    if bare(words) != words or not words or words[0] in BUILTINS:
        return None
    return tuple(words)


def whole_command(argv: Sequence[str]) -> str:
    """The command as allowed patterns are held against it: the shell's text, or quoted words."""
    text = shell_text(argv)
    return shlex.join(argv) if text is None else text


def _first_word(argv: Sequence[str]) -> str:
    text = shell_text(argv)
    if text is None:
        return argv[0] if argv else ""
    return next(
        (words[0] for command in parse(text).commands if (words := bare(command.words))), ""
    )


def _is_below(path: str, root: str) -> bool:
    return os.path.commonpath([path, root]) == root
