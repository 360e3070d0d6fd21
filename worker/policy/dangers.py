"""What about a command looks unsafe, at each level. docs/security.md tells it to people.

A look at the text, and not at what it will do: whoever wants to get around it can. It is there
for mistakes and for the careless, below whatever really confines the jobs.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from worker.policy.shellwords import Command, Script, parse

Level = Literal["low", "medium", "high"]
LEVELS: Final[Sequence[Level]] = ("low", "medium", "high")

SHELLS: Final = frozenset({"sh", "bash", "dash", "ash", "zsh", "ksh"})
INTERPRETERS: Final = SHELLS | {"python", "python3", "perl", "ruby", "node", "php"}
DOWNLOADS: Final = frozenset({"curl", "wget", "fetch"})
AS_ANOTHER: Final = frozenset({"sudo", "su", "doas", "pkexec", "runuser"})
FORMATS: Final = frozenset({"mkfs", "wipefs", "fdisk", "sfdisk", "parted", "mkswap", "blkdiscard"})
HALTS: Final = frozenset({"shutdown", "reboot", "halt", "poweroff", "telinit"})
OPENS: Final = frozenset({"if", "then", "else", "elif", "do", "while", "until", "!", "{", "time"})
CLOSES: Final = frozenset({"done", "fi", "esac", "}", "for", "case", "select", "function", "in"})
# Words that run the command which follows them.
CARRIERS: Final = frozenset(
    {"env", "nohup", "nice", "ionice", "exec", "command", "builtin", "timeout", "xargs", "time"}
    | {"setsid", "stdbuf", "sudo", "doas", "chroot", "watch", "parallel"}
)
TAKE_A_WORD: Final = frozenset({"timeout", "chroot"})
ASSIGNMENT: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\+?=")
DISK: Final = re.compile(r"/dev/(?:sd|hd|vd|xvd|nvme|mmcblk|disk|mapper/|dm-|md)[\w/-]*")
HARMLESS_DEVICE: Final = re.compile(
    r"/dev/(?:null|zero|full|tty|stdin|stdout|stderr|fd/\d+|shm(?:/.*)?)"
)
SYSTEM: Final = ("/etc", "/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/boot", "/dev")
SYSTEM_TOO: Final = ("/proc", "/sys", "/root", "/var/spool/cron", "/var/lib")
HOMES: Final = frozenset({"~", "$HOME", "${HOME}", "/home", "/root"})
TOP: Final = frozenset({"/opt", "/srv", "/var", "/mnt", "/media", "/home", "/tmp", *SYSTEM})
DEEPEST: Final = 4  # shells within shells that are looked into
MOST_CARRIED: Final = 20  # commands within one, as with `env nohup nice make`


@dataclass(frozen=True, slots=True)
class Danger:
    """Something that looks unsafe."""

    rule: str
    level: Level
    what: str


def dangers(argv: Sequence[str], level: Level) -> Iterator[Danger]:
    """What looks unsafe about the command at this level, the lower levels' rules included."""
    seen = LEVELS[: LEVELS.index(level) + 1]
    for danger in _in_argv(list(argv), 0):
        if danger.level in seen:
            yield danger


def shell_text(argv: Sequence[str]) -> str | None:
    """What a shell is told to execute by `sh -c TEXT`; None when that is not what this is."""
    if not argv or _base(argv[0]) not in SHELLS:
        return None
    for n, word in enumerate(argv[1:], 1):
        if not word.startswith(("-", "+")):
            return None  # a file
        if not word.startswith("--") and "c" in word:
            return next((text for text in argv[n + 1 :] if not text.startswith("-")), None)
    return None


def bare(words: Sequence[str]) -> list[str]:
    """A simple command without keywords and assignments before it; empty: there is none."""
    rest = list(words)
    while rest and (rest[0] in OPENS or ASSIGNMENT.match(rest[0])):
        rest.pop(0)
    return [] if rest and rest[0] in CLOSES else rest


def _in_argv(argv: list[str], depth: int) -> Iterator[Danger]:
    text = shell_text(argv)
    if text is None:
        yield from _in_script(Script(commands=[Command(words=argv)]), depth)
        return
    squeezed = "".join(text.split())
    if ":(){" in squeezed or ":|:&" in squeezed:
        yield Danger("fork-bomb", "low", "a function that starts itself over and over")
    yield from _in_script(parse(text), depth)


def _in_script(script: Script, depth: int) -> Iterator[Danger]:
    if script.substitutes:
        yield Danger("substitution", "high", "the output of one command becomes part of another")
    if chains := sorted(script.operators - {"\n"}):
        yield Danger("chaining", "high", f"several commands in one line ({' '.join(chains)})")
    if not script.is_whole:
        yield Danger("unreadable", "medium", "a quote or parenthesis that is never closed")
    feeds: dict[int, bool] = {}  # by command: whether what it writes may come from the network
    for command in script.commands:
        source = command.piped_from
        is_fed = source is not None and feeds.get(id(source), False)
        words = bare(command.words)
        feeds[id(command)] = is_fed or (bool(words) and _base(words[0]) in DOWNLOADS)
        yield from _redirected(command)
        yield from _piped(command, words, is_fed)
        yield from _in_words(words, depth)


def _in_words(words: list[str], depth: int) -> Iterator[Danger]:
    """One simple command, and those that it carries."""
    for _ in range(MOST_CARRIED):
        if not words:
            return
        name = _base(words[0])
        for look in LOOKS:
            yield from look(name, words)
        if depth < DEEPEST and (text := _nested(name, words)) is not None:
            yield from _in_argv(["sh", "-c", text], depth + 1)
        if name not in CARRIERS:
            return
        words = _carried(name, words[1:])
    yield Danger("unreadable", "medium", f"a command behind {MOST_CARRIED} others")


def _nested(name: str, words: list[str]) -> str | None:
    return " ".join(words[1:]) if name == "eval" else shell_text(words)


def _carried(carrier: str, rest: list[str]) -> list[str]:
    """The command behind a word such as `env` or `timeout`: its options and own words dropped."""
    at = 0
    while at < len(rest) and (rest[at].startswith("-") or ASSIGNMENT.match(rest[at])):
        at += 1 + (carrier in ("sudo", "doas") and rest[at] in ("-u", "-g"))
    return rest[at + (carrier in TAKE_A_WORD) :]


# -- rules for one command -------------------------------------------------------------------


def _removes(name: str, words: list[str]) -> Iterator[Danger]:
    if name != "rm":
        return
    options = "".join(word.lstrip("-") for word in words[1:] if word.startswith("-")).lower()
    if "r" not in options:
        return
    for word in words[1:]:
        place = word.rstrip("*").rstrip("/") or "/"
        if word.startswith(("/", "~", "$")) and (
            place == "/" or place in HOMES or place in TOP or _is_system(place)
        ):
            yield Danger("remove-tree", "low", f"rm -r of {word}")


def _destroys(name: str, words: list[str]) -> Iterator[Danger]:
    if name.split(".")[0] in FORMATS:
        yield Danger("disk", "low", f"{name} changes a whole disk")
    targets = [word.removeprefix("of=") for word in words[1:]] if name in ("dd", "tee") else []
    if name in ("shred", "cp", "mv"):
        targets = words[-1:]
    if any(DISK.fullmatch(target) for target in targets):
        yield Danger("disk", "low", f"{name} writes to a whole disk")
    if name in HALTS or (name == "init" and words[1:2] in (["0"], ["6"])):
        yield Danger("halt", "low", f"{name} stops the machine")


def _becomes_another(name: str, words: list[str]) -> Iterator[Danger]:
    if name in AS_ANOTHER:
        yield Danger("other-user", "medium", f"{name} acts as another user")


def _evaluates(name: str, words: list[str]) -> Iterator[Danger]:
    if name == "eval":
        yield Danger("eval", "medium", "eval runs a text that is put together at run time")
    if name in INTERPRETERS and name not in SHELLS and {"-c", "-e", "-r"} & set(words[1:3]):
        yield Danger("inline-code", "high", f"{name} runs code out of the command itself")


def _opens_to_network(name: str, words: list[str]) -> Iterator[Danger]:
    if name in ("nc", "ncat", "netcat", "socat") and any(
        word in ("-e", "-c", "--exec") or word.upper().startswith(("EXEC:", "SYSTEM:"))
        for word in words[1:]
    ):
        yield Danger("remote-shell", "medium", f"{name} gives a program to the network")


def _changes_system(name: str, words: list[str]) -> Iterator[Danger]:
    is_change = name in ("chmod", "chown", "chgrp", "tee", "ln", "install")
    targets = words[-1:] if name in ("cp", "mv", "rsync") else words[1:] if is_change else []
    for target in targets:
        if _is_system(target):
            yield Danger("system-path", "medium", f"{name} changes {target}")


LOOKS: Final[Sequence[Callable[[str, list[str]], Iterator[Danger]]]] = (
    _removes,
    _destroys,
    _becomes_another,
    _evaluates,
    _opens_to_network,
    _changes_system,
)


def _redirected(command: Command) -> Iterator[Danger]:
    for operator, target in command.redirections:
        if target.startswith(("/dev/tcp/", "/dev/udp/")):
            yield Danger("remote-shell", "medium", "a redirection to the network")
        elif ">" not in operator:
            continue
        elif DISK.fullmatch(target):
            yield Danger("disk", "low", f"output goes to the disk {target}")
        elif _is_system(target):
            yield Danger("system-path", "medium", f"output goes to {target}")
        elif _is_elsewhere(target):
            yield Danger("outside", "high", f"output goes to {target}, outside of the job")


def _piped(command: Command, words: list[str], is_fed: bool) -> Iterator[Danger]:
    """A shell or interpreter that runs what it is fed."""
    carried = words
    for _ in range(MOST_CARRIED):
        if carried and _base(carried[0]) in CARRIERS:
            carried = _carried(_base(carried[0]), carried[1:])
    name = _base(carried[0]) if carried else ""
    runs_input = name in INTERPRETERS and all(word.startswith("-") for word in carried[1:])
    if not runs_input or shell_text(carried) is not None:
        return
    if is_fed:
        yield Danger("download-run", "low", f"what was downloaded is run by {name}")
    elif command.piped_from is not None or any("<<" in r for r, _ in command.redirections):
        yield Danger("piped-run", "medium", f"{name} runs what another command writes")


def _is_system(path: str) -> bool:
    if HARMLESS_DEVICE.fullmatch(path):
        return False
    return any(path == top or path.startswith(f"{top}/") for top in (*SYSTEM, *SYSTEM_TOO))


def _is_elsewhere(path: str) -> bool:
    if HARMLESS_DEVICE.fullmatch(path):
        return False
    return path.startswith(("/", "~", "$HOME", "${HOME}")) or ".." in path.split("/")


def _base(word: str) -> str:
    return word.rsplit("/", 1)[-1]
