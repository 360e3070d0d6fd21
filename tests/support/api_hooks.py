"""What schemathesis must not ask for, loaded by schemathesis itself in its own process.

Answers that take as long as somebody cares to listen; and integers that are written with a
fraction, which JSON Schema calls integers and no service of ours does. And texts in paths that look
like escapes: schemathesis sends `%05` as the character that it stands for.
"""

from typing import Any

import schemathesis


@schemathesis.hook
def before_call(context: Any, case: Any, kwargs: dict[str, Any]) -> None:
    """No log is followed, and no claim waits."""
    if isinstance(case.query, dict) and case.query.get("follow") in (True, "true", "1"):
        case.query["follow"] = "false"
    for name, step in (case.path_parameters or {}).items():
        if isinstance(step, str):
            case.path_parameters[name] = step.replace("%", "_")
    case.body = _whole(case.body)
    body = case.body
    if isinstance(body, dict) and isinstance(body.get("wait_s"), float | int):
        body["wait_s"] = min(body["wait_s"], 0.01)


def _whole(value: Any) -> Any:
    """2.0 as 2, everywhere."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, dict):
        return {key: _whole(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_whole(one) for one in value]
    return value
