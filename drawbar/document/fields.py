"""Every field of a document, with every name that it may be written under.

The one table through which all dialects load: ours, the Executioner's JSON, the staged YAML. A
field's first name is its own; the rest are other spellings of it. `place` is where the value goes
in the canonical model ("retry.max_time_s": into the retry rule).
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from drawbar.document import readers
from drawbar.document.mistakes import Path, Report
from drawbar.document.nodes import Mapping as MappingNode
from drawbar.document.nodes import Node, Scalar
from drawbar.document.readers import BAD, Reader


@dataclass(frozen=True, slots=True)
class Field:
    place: str
    names: tuple[str, ...]
    read: Reader


@dataclass(frozen=True, slots=True)
class Table:
    """The fields of one kind of mapping, by every spelling; `later` are known but not built."""

    fields: Mapping[str, Field]
    later: frozenset[str]


@dataclass(slots=True)
class Read:
    """What a mapping said: values by place, and the nodes they were read from.

    A place that is in `nodes` but not in `values` had a mistake, which was reported.
    """

    values: dict[str, Any]
    nodes: dict[str, Node]
    names: dict[str, str]  # place → the name it was written under


def _as_it_is(node: Node, path: Path, report: Report) -> Any:
    """Lists of stages and jobs: read by the loader, which knows both shapes."""
    return node


def _table(fields: Iterable[Field], later: Iterable[str] = ()) -> Table:
    return Table({name: f for f in fields for name in f.names}, frozenset(later))


def _retry_block(node: Node, path: Path, report: Report) -> Any:
    if not isinstance(node, MappingNode):
        return readers.expected("a mapping such as {max: 2, delay: 5s}", node, path, report)
    return read_mapping(node, RETRY, path, report).values


def _retry_fields(prefix: str, *, places: str = "") -> tuple[Field, ...]:
    """The Executioner's flat retry settings; `default_` in front of those of the application."""
    return (
        Field(f"{places}max", (f"{prefix}max_retries",), readers.whole),
        Field(f"{places}delay_s", (f"{prefix}retry_delay",), readers.duration),
        Field(f"{places}backoff", (f"{prefix}retry_backoff",), readers.number),
        Field(f"{places}jitter", (f"{prefix}retry_jitter",), readers.number),
        Field(f"{places}max_time_s", (f"{prefix}max_retry_time",), readers.duration),
        Field(f"{places}on", (f"{prefix}retry_on_status",), readers.retry_on),
        Field(f"{places}on_exit_codes", (f"{prefix}retry_on_exit_codes",), readers.exit_codes),
    )


RETRY: Final = _table(
    (
        Field("max", ("max",), readers.whole),
        Field("delay_s", ("delay",), readers.duration),
        Field("backoff", ("backoff",), readers.number),
        Field("jitter", ("jitter",), readers.number),
        Field("max_time_s", ("max_time",), readers.duration),
        Field("on", ("on",), readers.retry_on),
        Field("on_exit_codes", ("on_exit_codes",), readers.exit_codes),
    )
)

STAGE: Final = _table(
    (Field("name", ("name",), readers.text), Field("jobs", ("jobs",), _as_it_is)),
    later=("when", "needs", "dependencies"),
)

JOB: Final = _table(
    (
        Field("id", ("id", "name", "job_id"), readers.text),
        Field("stage", ("stage",), readers.text),
        Field("description", ("description", "job_description"), readers.text),
        Field("command", ("command",), readers.text),
        Field("script", ("script",), readers.texts),
        Field("argv", ("argv",), readers.texts),
        Field("needs", ("needs", "dependencies"), readers.texts),
        Field("env", ("env", "env_variables"), readers.variables),
        Field("working_dir", ("working_dir", "workingDir"), readers.text),
        Field("timeout_s", ("timeout",), readers.limit),
        Field("queue_timeout_s", ("queue_timeout",), readers.limit),
        Field("retry", ("retry",), _retry_block),
        *_retry_fields("", places="retry."),
        Field("artifacts", ("artifacts",), readers.texts),
        Field("inputs", ("inputs",), readers.texts),
        Field("requires", ("requires",), readers.variables),
        Field("priority", ("priority",), readers.whole),
        Field("allow_failure", ("allow_failure", "allowFailure"), readers.truth),
        Field("on_lost", ("on_lost",), readers.on_lost),
    ),
    later=(
        *("pre_checks", "post_checks", "image", "dockerImage", "python", "matrix", "when"),
        *("lock", "notify", "approve", "trigger_rule", "secrets", "params"),
    ),
)

PIPELINE: Final = _table(
    (
        Field("name", ("name", "application_name"), readers.text),
        Field("description", ("description",), readers.text),
        Field("env", ("env", "env_variables"), readers.variables),
        Field("parallel", ("parallel",), readers.truth),
        Field("max_workers", ("max_workers",), readers.whole),
        Field("timeout_s", ("timeout", "default_timeout"), readers.limit),
        Field("retry", ("retry",), _retry_block),
        *_retry_fields("default_", places="retry."),
        Field("working_dir", ("working_dir", "workingDir"), readers.text),
        Field("stages", ("stages",), _as_it_is),
        Field("jobs", ("jobs",), _as_it_is),
    ),
    later=(
        *("notify", "schedule", "params", "extends", "include", "fail_fast", "continue_on_error"),
        *("repository", "branch", "allow_shell", "inherit_shell_env", "dependency_plugins"),
        *("email_address", "email_on_success", "email_on_failure", "log_dir", "workspace_paths"),
        *("smtp_server", "smtp_port", "smtp_user", "smtp_password", "security_policy"),
        *("security_level", "command_whitelist", "command_allowlist_patterns", "lock", "matrix"),
        *("pre_checks", "post_checks", "image", "when"),
    ),
)


def read_mapping(node: MappingNode, table: Table, path: Path, report: Report) -> Read:
    """Every field of `node`. Nothing (null) counts as not given; comments are passed over."""
    read = Read({}, {}, {})
    keys: dict[str, Scalar] = {}
    for key, value in node.pairs:
        name = key.text
        if name in keys:
            again = f"{name!r} is given twice (see line {keys[name].line})"
            report.add(key, (*path, name), again)
            continue
        keys[name] = key
        field = table.fields.get(name)
        if field is None:
            _refuse(key, table, path, report)
        elif not (isinstance(value, Scalar) and value.is_nothing):
            if field.place in read.nodes:
                other = read.names[field.place]
                both = f"{name!r} says the same as {other!r} (line {keys[other].line}); give one"
                report.add(key, (*path, name), both)
                continue
            read.nodes[field.place] = value
            read.names[field.place] = name
            found = field.read(value, (*path, name), report)
            if found is not BAD:
                read.values[field.place] = found
    return read


def _refuse(key: Scalar, table: Table, path: Path, report: Report) -> None:
    name = key.text
    if name.startswith(("_", "x-")):
        return
    if name in table.later:
        message = f"field {name!r} is not supported by this version"
    else:
        hint = report.hint(name[:100], lambda: [*table.fields, *table.later])
        message = f"unknown field {name[:100]!r}{hint}"
    report.add(key, (*path, name), message)
