"""`drawbar.toml` in the current folder: defaults for options, below flags and environment.

A setting at the top is for every command that has such an option; one in a table named after a
command is for that command.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from typer.core import TyperGroup

FILE: Final = Path("drawbar.toml")


def defaults(group: "TyperGroup") -> dict[str, Any] | None:
    """Defaults by command; None when there is no file. Usage: it has mistakes."""
    try:
        text = FILE.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return None
    import tomllib

    from drawbar.cli.failures import Usage

    try:
        return _sort(tomllib.loads(text.decode()), group)
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, ValueError) as error:
        raise Usage(f"{FILE}: {error}") from None


def _sort(settings: dict[str, Any], group: "TyperGroup") -> dict[str, Any]:
    options = {
        name: {_spelled(p): p.name for p in command.params if p.param_type_name == "option"}
        for name, command in _commands(group)
    }
    everywhere = {spelled for of_command in options.values() for spelled in of_command}
    found: dict[str, dict[str, Any]] = {name: {} for name in options}
    tables = {key: value for key, value in settings.items() if isinstance(value, dict)}
    for key, value in settings.items():
        if key in tables:
            continue
        if key not in everywhere:
            raise ValueError(f"unknown setting {key!r}{_hint(key, everywhere)}")
        for name, of_command in options.items():
            if key in of_command:
                found[name][of_command[key]] = value
    for name, table in tables.items():
        if name not in options:
            raise ValueError(f"unknown command {name!r}{_hint(name, options)}")
        for key, value in table.items():
            if key not in options[name]:
                raise ValueError(f"{name} has no setting {key!r}{_hint(key, options[name])}")
            found[name][options[name][key]] = value
    for name in [name for name in found if " " in name]:  # inside what its group is told
        parent, own = name.split()
        found[parent][own] = found.pop(name)
    return found


def _commands(group: "TyperGroup") -> Iterator[tuple[str, Any]]:
    """Each by its words: `run`, `schedules`, `schedules add`."""
    for name, command in group.commands.items():
        yield name, command
        for own, inner in getattr(command, "commands", {}).items():
            yield f"{name} {own}", inner


def _spelled(parameter: Any) -> str:
    """An option as the file spells it: its long flag without the dashes."""
    longest: str = max(parameter.opts, key=len)
    return longest.lstrip("-")


def _hint(word: str, known: Any) -> str:
    from shared.pipeline_rules import nearest

    return nearest(word, sorted(known))
