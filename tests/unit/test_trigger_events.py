"""What can be told of what came about."""

from typing import Any

import pytest

from jobstore.triggers.conditions import NotMet, check_body
from jobstore.triggers.events import check_event
from shared.protocol.execution import Resumption

DEEP = b"[" * 240 + b"]" * 240
UNTOLD = [b"NaN", b"-Infinity", b"1e999", rb'"\ud800"', DEEP]


def test_what_can_be_told_is_read_by_who_goes_on_with_it() -> None:
    event: Any = {"n": 2**80, "s": "€ \x00", "deep": [[[[1.5, None, True]]]]}

    check_event(event)

    resume = Resumption(next_method="after", arguments={}, event=event)
    assert Resumption.model_validate_json(resume.model_dump_json()).event == event


@pytest.mark.parametrize("text", UNTOLD, ids=lambda text: text[:10].decode())
def test_an_answer_that_nobody_could_be_told_of_is_not_one(text: bytes) -> None:
    with pytest.raises(NotMet, match=r"\$\.a cannot be passed on as JSON"):
        check_body(b'{"a": [' + text + b"]}", "$.a", (), None)
