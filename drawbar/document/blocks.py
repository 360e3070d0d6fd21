"""Settings that are written as a block or one by one: retry, limits, security, notify.

Also: what the canonical model refuses (lengths, ranges, characters), told at the node it came from.
"""

from typing import Any

from pydantic import BaseModel, ValidationError

from drawbar.document.bounds import in_words
from drawbar.document.mistakes import Path, Report
from drawbar.document.nodes import Mapping, Node, Sequence
from drawbar.document.tables import Read
from shared.protocol.pipeline import (
    ContainerSpec,
    Limits,
    MailServer,
    NotifyOn,
    NotifySpec,
    RetryRule,
    SecuritySpec,
)


def read_retry(read: Read, path: Path, report: Report) -> dict[str, Any]:
    """The retry settings that a mapping gives itself; all in bounds."""
    if "retry" not in read.values and not any(place.startswith("retry.") for place in read.values):
        return {}
    return _settings("retry", RetryRule, read, path, report)


def read_limits(read: Read, path: Path, report: Report) -> dict[str, Any]:
    """The limits that a mapping gives itself; all in bounds."""
    return _settings("limits", Limits, read, path, report)


def read_container(read: Read, path: Path, report: Report) -> dict[str, Any]:
    """How a mapping wants containers to be run; all in bounds."""
    return _settings("container", ContainerSpec, read, path, report)


def read_security(read: Read, report: Report) -> SecuritySpec | None:
    """How the pipeline narrows its commands; None when it says nothing of that."""
    values = _settings("security", SecuritySpec, read, (), report)
    if any(place.startswith("security.") for place in read.values):
        values.setdefault("policy", "warn")  # as the Executioner, whose spelling that is
    return SecuritySpec.model_construct(**values) if values else None


def read_notify(read: Read, report: Report) -> NotifySpec | None:
    """Who hears of the pipeline's ends; None when nobody does."""
    mail = _settings("mail_server", MailServer, read, (), report, partial=True)
    values = _settings("notify", NotifySpec, read, (), report, partial=True)
    if mail:
        if "mail_server" in values:
            at = next(p for p in read.nodes if p.startswith("mail_server."))
            name = read.names[at]
            report.add(
                read.nodes[at], (name,), f"{name!r} is given in the notify block, too; give one"
            )
        elif "host" not in mail:
            for place in [p for p in read.values if p.startswith("mail_server.")]:
                name = read.names[place]
                report.note(read.nodes[place], (name,), f"{name} has no effect without smtp_server")
        else:
            values["mail_server"] = MailServer.model_construct(**mail)
    ends = _ends(read, values, report)
    if ends is not None:
        values["on"] = ends
    who = values.keys() & {"email", "webhook", "slack", "teams"}
    if not who:
        for place in [
            p for p in ("notify", "email_on_success", "email_on_failure") if p in read.nodes
        ]:
            name = read.names[place]
            report.note(
                read.nodes[place], (name,), f"{name} has no effect: it names nobody to tell"
            )
        return None
    return NotifySpec.model_construct(**values)


def _ends(read: Read, values: dict[str, Any], report: Report) -> tuple[NotifyOn, ...] | None:
    """What the Executioner's two switches mean; None when they are not given."""
    flags = [place for place in ("email_on_success", "email_on_failure") if place in read.values]
    if not flags:
        return None
    if "on" in values:
        name = read.names[flags[0]]
        report.add(
            read.nodes[flags[0]], (name,), f"{name!r} is given as 'on' of notify, too; give one"
        )
    ends = []
    if read.values.get("email_on_success", False):
        ends.append(NotifyOn.SUCCESS)
    if read.values.get("email_on_failure", True):
        ends.append(NotifyOn.FAILURE)
    return tuple(ends)


def _settings(
    block: str,
    model: type[BaseModel],
    read: Read,
    path: Path,
    report: Report,
    *,
    partial: bool = False,
) -> dict[str, Any]:
    """The settings in the block and those written one by one, none twice, all in bounds."""
    values: dict[str, Any] = dict(read.values.get(block, {}))
    for place, value in read.values.items():
        prefix, _, setting = place.partition(".")
        if prefix != block or not setting:
            continue
        if setting in values:
            name = read.names[place]
            message = f"{name!r} is given in the {block} block, too; give one"
            report.add(read.nodes[place], (*path, name), message)
        values[setting] = value
    if not values:
        return {}
    try:
        whole = model.model_validate(values)
    except ValidationError as error:
        missing_only = True
        for problem in error.errors():
            setting = str(problem["loc"][0])
            if problem["type"] == "missing" and partial and len(problem["loc"]) == 1:
                continue
            missing_only = False
            _report_setting(block, setting, problem, read, path, report)
            values.pop(setting, None)
        return values if not missing_only else _constructed(model, values)
    return {setting: getattr(whole, setting) for setting in values}


def _constructed(model: type[BaseModel], values: dict[str, Any]) -> dict[str, Any]:
    whole = model.model_construct(**values)
    return {setting: getattr(whole, setting) for setting in values}


def _report_setting(
    block: str, setting: str, problem: Any, read: Read, path: Path, report: Report
) -> None:
    flat = read.names.get(f"{block}.{setting}")
    rest = [str(part) for part in problem["loc"][1:] if not isinstance(part, int)]
    if flat is not None:
        node = read.nodes[f"{block}.{setting}"]
        report.add(node, (*path, flat), f"{flat}: {in_words(problem)}")
        return
    name = setting.removesuffix("_s").removesuffix("_bytes")
    node = child(read.nodes[block], name, wants_key=False)
    for part in rest:
        node = child(node, part, wants_key=False)
    dotted = ".".join([block, name, *rest])
    what = "is missing" if problem["type"] == "missing" else in_words(problem)
    report.add(node, (*path, block, name, *rest), f"{dotted}: {what}")


def report_bounds(
    error: ValidationError,
    node: Mapping,
    read: Read,
    path: Path,
    report: Report,
    outer: Read | None = None,
) -> None:
    """Each refusal at the node that it came from, or at that of the mapping around."""
    for problem in error.errors():
        place, *rest = problem["loc"] or ("",)
        field = str(place)
        at = read.nodes.get(field) or (outer.nodes.get(field) if outer else None)
        if at is None:
            # What is missing, and what to run, was reported when the job was read.
            if problem["type"] not in ("missing", "value_error"):
                report.add(node, path, f"{field}: {in_words(problem)}")
            continue
        name = read.names.get(field, field)
        keyed = [p for p in rest if p != "[key]"]
        for part in keyed if not report.is_full else ():  # each step searches a mapping
            at = child(at, part, wants_key="[key]" in rest)
        what = f"{name}: {keyed[0]!r}" if field in ("env", "requires") and keyed else name
        report.add(at, (*path, name, *keyed), f"{what}: {in_words(problem)}")


def child(node: Node, part: str | int, *, wants_key: bool) -> Node:
    """What is at `part` of a collection, or the collection."""
    if isinstance(node, Mapping):
        for key, value in node.pairs:
            if key.text == part:
                return key if wants_key else value
    elif isinstance(part, int) and isinstance(node, Sequence) and part < len(node.items):
        return node.items[part]
    return node
