"""What an operator's change makes of a worker's slots and labels."""

from collections.abc import Mapping

from registry.enrolment import Enrolment
from shared.errors import BadRequest
from shared.pipeline_rules import nearest
from shared.protocol.registry import MAX_LABELS, SettingsRequest


def changed(
    worker: Enrolment, ask: SettingsRequest
) -> tuple[int | None, Mapping[str, str | None], str]:
    """What is set from now on, and the change in words.

    BadRequest: nothing is to be changed, a label that is not there is to go, or too many are.
    """
    if ask.slots is None and not ask.labels and not ask.is_reset:
        raise BadRequest("nothing to set: give slots, labels or a reset", name=worker.name)
    before = worker.own_labels if ask.is_reset else worker.labels
    for label, value in ask.labels.items():
        if value is None and label not in before:
            raise BadRequest(
                f"worker {worker.name!r} has no label {label!r}{nearest(label, sorted(before))}",
                name=worker.name,
                label=label,
            )
    earlier = {} if ask.is_reset else worker.set_labels
    labels = {**earlier, **ask.labels}
    if len({**worker.own_labels, **labels}) > MAX_LABELS:
        raise BadRequest(
            f"worker {worker.name!r} would have more than {MAX_LABELS} labels", name=worker.name
        )
    slots = ask.slots or (None if ask.is_reset else worker.set_slots)
    return slots, labels, " ".join(_words(ask))


def _words(ask: SettingsRequest) -> list[str]:
    words = ["reset"] if ask.is_reset else []
    if ask.slots is not None:
        words.append(f"slots={ask.slots}")
    for label, value in ask.labels.items():
        words.append(f"-{label}" if value is None else f"{label}={value}")
    return words
