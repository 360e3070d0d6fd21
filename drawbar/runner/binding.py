"""Arguments as the document has them → values, by asking for what other jobs left."""

from __future__ import annotations

from drawbar.sdk.current import ask
from drawbar.sdk.results import ResultSequence

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class CannotBind(Exception):
    """An argument has no value; the message names it."""


def bind(start: dict[str, Any]) -> tuple[list[Any], dict[str, Any]]:
    """Positional and named arguments of the task's function. CannotBind, AskFailed."""
    task = start["task"]
    mapped = task["mapped"]
    args = [_value(argument) for argument in task["args"]]
    kwargs = {
        name: _item(name, argument, start["map_index"]) if name in mapped else _value(argument)
        for name, argument in task["kwargs"].items()
    }
    return args, kwargs


def _value(argument: dict[str, Any]) -> Any:
    match argument["kind"]:
        case "literal":
            return argument["value"]
        case "result" if argument["is_mapped"]:
            return ResultSequence(argument["job"], argument["key"])
        case "result":
            return ask("get_xcom", job=argument["job"], key=argument["key"])["value"]
        case "list":
            return [_value(item) for item in argument["items"]]
        case "mapping":
            return {key: _value(item) for key, item in argument["items"].items()}
        case other:
            raise CannotBind(f"this runner knows no argument of kind {other!r}")


def _item(name: str, argument: dict[str, Any], index: int | None) -> Any:
    """The item of a mapped argument that is this instance's own."""
    if index is None:
        raise CannotBind(f"{name!r} is mapped, but this is no instance of a mapped job")
    if argument["kind"] == "result":
        asked = {"job": argument["job"], "key": argument["key"], "index": index}
        return ask("get_xcom_item", **asked)["value"]
    items = argument["value"] if argument["kind"] == "literal" else argument["items"]
    if index >= len(items):
        raise CannotBind(f"{name!r} has {len(items)} items, and this is instance {index}")
    return items[index] if argument["kind"] == "literal" else _value(items[index])
