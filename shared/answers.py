"""How a person answers what a task asks: the command, and what its fields want. Pure."""

import shlex

from shared.protocol.questions import FieldKind, FormField, QuestionView


def answer_line(question: QuestionView) -> str:
    """The command, with what is to be filled in in capital letters."""
    words = ["drawbar", "answer", str(question.run_id), question.job_id]
    line = shlex.join(words)
    if question.choices:
        line += " " + "|".join(shlex.quote(choice) for choice in question.choices)
    for field in question.fields:
        given = f"--set {shlex.quote(field.name)}=VALUE"
        line += f" {given}" if field.default is None else f" [{given}]"
    return line


def field_line(field: FormField) -> str:
    """`reason: Why now? (text)`."""
    kind = ", ".join(field.choices) if field.kind is FieldKind.CHOICE else field.kind.value
    usual = "" if field.default is None else f"; without it {field.default!r}"
    label = f": {field.label}" if field.label else ""
    return f"{field.name}{label} ({kind}{usual})"
