"""Options for what may run on a worker: of `worker`, `up`, and `run`, which has one in itself."""

from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

if TYPE_CHECKING:
    from shared.protocol.pipeline import SecuritySpec
    from worker.settings import Images

PANEL = "What may run here"


class PolicyName(StrEnum):
    OFF = "off"
    WARN = "warn"
    BLOCK = "block"


class LevelName(StrEnum):
    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"


class ImagesName(StrEnum):
    RUN = "run"
    REFUSE = "refuse"
    IGNORE = "ignore"


PolicyOption = Annotated[
    PolicyName,
    typer.Option(
        "--policy",
        envvar="DRAWBAR_POLICY",
        help="What becomes of a command that looks unsafe.",
        rich_help_panel=PANEL,
    ),
]
LevelOption = Annotated[
    LevelName,
    typer.Option(
        "--policy-level",
        envvar="DRAWBAR_POLICY_LEVEL",
        help="How much looks unsafe; docs/security.md lists it.",
        rich_help_panel=PANEL,
    ),
]
AllowCommand = Annotated[
    list[str] | None,
    typer.Option(
        "--allow-command",
        metavar="NAME",
        envvar="DRAWBAR_ALLOW_COMMANDS",
        help="Only such commands may be started. Repeatable.",
        show_default=False,
        rich_help_panel=PANEL,
    ),
]
AllowPattern = Annotated[
    list[str] | None,
    typer.Option(
        "--allow-pattern",
        metavar="REGEX",
        envvar="DRAWBAR_ALLOW_PATTERNS",
        help="Only commands that match one of these, whole. Repeatable.",
        show_default=False,
        rich_help_panel=PANEL,
    ),
]
WorkspaceDir = Annotated[
    list[Path] | None,
    typer.Option(
        "--workspace",
        metavar="DIR",
        envvar="DRAWBAR_WORKSPACES",
        help="Jobs may work only below such a folder, or in one of their own. Repeatable.",
        show_default=False,
        rich_help_panel=PANEL,
    ),
]
NoShell = Annotated[
    bool,
    typer.Option(
        "--no-shell",
        envvar="DRAWBAR_NO_SHELL",
        help="No shell for commands: words only, without pipes, variables and the like.",
        rich_help_panel=PANEL,
    ),
]
AllowPlugins = Annotated[
    list[Path] | None,
    typer.Option(
        "--allow-plugins",
        metavar="DIR",
        envvar="DRAWBAR_ALLOW_PLUGINS",
        help="Pipelines may bring checks of their own in files below it. Repeatable.",
        show_default=False,
        rich_help_panel=PANEL,
    ),
]
ImagesOption = Annotated[
    ImagesName,
    typer.Option(
        "--images",
        envvar="DRAWBAR_IMAGES",
        help="What becomes of jobs that ask for a container: run in one, refused, or run without.",
        rich_help_panel=PANEL,
    ),
]
Docker = Annotated[
    str | None,
    typer.Option(
        "--docker",
        metavar="ADDRESS",
        envvar="DRAWBAR_DOCKER",
        help="The container engine (Docker, Podman): unix:///path or tcp://host:port. "
        "Default: $DOCKER_HOST, or the first of the usual sockets.",
        show_default=False,
        rich_help_panel=PANEL,
    ),
]


Mask = Annotated[
    list[str] | None,
    typer.Option(
        "--mask",
        metavar="NAME",
        envvar="DRAWBAR_MASK",
        help="A variable of jobs whose value no log may show, though its name tells no secret. "
        "Repeatable.",
        show_default=False,
        rich_help_panel=PANEL,
    ),
]


WarmOption = Annotated[
    bool,
    typer.Option(
        "--warm/--no-warm",
        envvar="DRAWBAR_WARM",
        help="Start Python tasks from a process that has imported their flow.",
    ),
]


class Rules(NamedTuple):
    """What may run on a worker, and how."""

    security: "SecuritySpec"
    plugin_dirs: tuple[str, ...]
    images: "Images"
    docker: str | None  # where the container engine listens
    is_warm: bool
    masked: tuple[str, ...] = ()


def read_rules(
    policy: PolicyName,
    level: LevelName,
    commands: Sequence[str] | None,
    patterns: Sequence[str] | None,
    workspaces: Sequence[Path] | None,
    no_shell: bool,
    plugins: Sequence[Path] | None,
    images: ImagesName,
    docker: str | None,
    is_warm: bool,
    masked: Sequence[str] | None = None,
) -> Rules:
    """Usage: a pattern is no regular expression, a folder of plugins does not exist, no engine can
    be at that address."""
    import re

    from pydantic import ValidationError

    from drawbar.cli.failures import Usage
    from shared.protocol.pipeline import SecuritySpec
    from worker.runners.containers.address import SHAPES, is_address

    for pattern in patterns or ():
        try:
            re.compile(pattern)
        except (re.error, OverflowError, RecursionError) as error:
            raise Usage(f"--allow-pattern {pattern!r} is no regular expression: {error}") from None
    if docker is not None and not is_address(docker):
        raise Usage(f"--docker {docker!r}: give {SHAPES}")
    for folder in plugins or ():
        if not folder.is_dir():
            raise Usage(f"--allow-plugins {str(folder)!r}: there is no such folder")
    try:
        security = SecuritySpec(
            allow_shell=not no_shell,
            policy=policy.value,
            level=level.value,
            allowed_commands=tuple(commands or ()),
            allowed_patterns=tuple(patterns or ()),
            workspaces=tuple(str(folder.absolute()) for folder in workspaces or ()),
        )
    except ValidationError as error:
        raise Usage(f"what may run here: {error.errors()[0]['msg']}") from None
    folders = tuple(str(folder.absolute()) for folder in plugins or ())
    return Rules(security, folders, images.value, docker, is_warm, tuple(masked or ()))
