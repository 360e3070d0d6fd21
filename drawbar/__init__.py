"""drawbar: workers pull jobs, run them in supervised processes, and report back.

What flow files import: `from drawbar import task, pipeline, context`. Each name is loaded when it
is first used, so that a task starts without code that it does not need.
"""

TYPE_CHECKING = False  # as typing has it, without its import
if TYPE_CHECKING:
    from drawbar.sdk import triggers as triggers
    from drawbar.sdk.asking import artifacts as artifacts
    from drawbar.sdk.asking import connections as connections
    from drawbar.sdk.asking import mask as mask
    from drawbar.sdk.asking import variables as variables
    from drawbar.sdk.asking import xcom as xcom
    from drawbar.sdk.current import AskFailed as AskFailed
    from drawbar.sdk.current import NotThere as NotThere
    from drawbar.sdk.current import context as context
    from drawbar.sdk.graph import Pipeline as Pipeline
    from drawbar.sdk.graph import group as group
    from drawbar.sdk.graph import pipeline as pipeline
    from drawbar.sdk.graph import shell as shell
    from drawbar.sdk.outcomes import Defer as Defer
    from drawbar.sdk.outcomes import Fail as Fail
    from drawbar.sdk.outcomes import Reschedule as Reschedule
    from drawbar.sdk.outcomes import Retry as Retry
    from drawbar.sdk.outcomes import Skip as Skip
    from drawbar.sdk.tasks import Task as Task
    from drawbar.sdk.tasks import task as task

_MODULES = {
    "asking": ("artifacts", "connections", "mask", "variables", "xcom"),
    "current": ("AskFailed", "NotThere", "context"),
    "graph": ("Pipeline", "group", "pipeline", "shell"),
    "outcomes": ("Defer", "Fail", "Reschedule", "Retry", "Skip"),
    "tasks": ("Task", "task"),
}
_MODULE_OF = {name: module for module, names in _MODULES.items() for name in names}
_MODULE_OF["triggers"] = "triggers"  # a module as a whole

__all__ = sorted(_MODULE_OF)


def __getattr__(name: str) -> object:
    module = _MODULE_OF.get(name)
    if module is None:
        raise AttributeError(f"module 'drawbar' has no attribute {name!r}")
    from importlib import import_module

    found: object = import_module(f"drawbar.sdk.{module}")
    value = found if name == module else getattr(found, name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
