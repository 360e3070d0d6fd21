"""Options that say where the job service may look for tasks that wait, and where it is reached."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from drawbar.cli.failures import Usage

if TYPE_CHECKING:  # most commands wait for nothing
    from jobstore.triggers.ports import Outside, Web
    from shared.runtime import Runtime

PANEL = "What tasks may wait for"

TriggerFolder = Annotated[
    list[Path] | None,
    typer.Option(
        "--trigger-folder",
        metavar="DIR",
        envvar="DRAWBAR_TRIGGER_FOLDERS",
        help="Tasks may wait for files below this folder. May be repeated. Default: for none.",
        show_default=False,
        rich_help_panel=PANEL,
    ),
]
TriggerHost = Annotated[
    list[str] | None,
    typer.Option(
        "--trigger-host",
        metavar="HOST",
        envvar="DRAWBAR_TRIGGER_HOSTS",
        help="Tasks may wait for answers of this server only; *.example.com for all below. May be "
        "repeated. Default: of any that is not on this machine or its link.",
        show_default=False,
        rich_help_panel=PANEL,
    ),
]
CallbackUrl = Annotated[
    str | None,
    typer.Option(
        "--callback-url",
        metavar="URL",
        envvar="DRAWBAR_CALLBACK_URL",
        help="Where others reach the job service with callbacks. Default: where it listens.",
        show_default=False,
        rich_help_panel=PANEL,
    ),
]


@dataclass(frozen=True, slots=True)
class Reach:
    """The options, as they were given."""

    folders: tuple[Path, ...]
    hosts: tuple[str, ...]
    callback_url: str | None

    def outside(self, runtime: "Runtime") -> "Outside":
        """Usage: a folder is not there, or the URL is none."""
        from drawbar.cli.connect import checked_url
        from jobstore.triggers.ports import Outside

        for folder in self.folders:
            if not folder.is_dir():
                raise Usage(f"--trigger-folder {str(folder)!r}: there is no such folder")

        def new_web() -> "Web":
            from jobstore.triggers.web import Servers

            return Servers(self.hosts, runtime)

        outside = Outside(tuple(folder.resolve() for folder in self.folders), new_web)
        if self.callback_url is not None:
            outside.doorstep_at(checked_url("--callback-url", self.callback_url))
        return outside


def own_machine(runtime: "Runtime") -> "Outside":
    """For a run in this process: its tasks can do what this user can, and may wait for it."""
    from jobstore.triggers.ports import Outside

    def new_web() -> "Web":
        from jobstore.triggers.web import Servers

        return Servers((), runtime, is_own=True)

    return Outside((Path("/"),), new_web)
