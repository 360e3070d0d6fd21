"""A list that another job left, in a flow's hands: it is sliced as any list."""

from typing import Any

import pytest

from drawbar.sdk import current
from drawbar.sdk.results import ResultSequence

LIST = list(range(7))


@pytest.fixture
def results(monkeypatch: pytest.MonkeyPatch) -> ResultSequence:
    def ask(what: str, **fields: Any) -> dict[str, Any]:
        if what == "count_xcom":
            return {"count": len(LIST)}
        if what == "get_xcom_item":
            return {"value": LIST[fields["index"]], "is_found": True}
        assert all(abs(fields[name] or 0) <= 2**31 for name in ("start", "stop", "step"))
        places = range(len(LIST))[fields["start"] : fields["stop"] : fields["step"]]
        rest = places[2] if len(places) > 2 else None  # two for each answer
        return {"values": [LIST[place] for place in places[:2]], "next_start": rest}

    monkeypatch.setattr(current._Running, "ask", staticmethod(ask))
    return ResultSequence("numbers", "return_value")


@pytest.mark.parametrize(
    "cut",
    [
        slice(None),
        slice(1, 3),
        slice(None, None, -1),
        slice(5, 2),
        slice(-2, None),
        slice(-(10**30), 10**30),
        slice(10**30, None, -3),
        slice(True, None),
    ],
)
def test_a_slice_is_that_of_a_list(results: ResultSequence, cut: slice) -> None:
    assert results[cut] == LIST[cut]


@pytest.mark.parametrize("index", [0, 6, -1, -7, True])
def test_an_item_is_that_of_a_list(results: ResultSequence, index: int) -> None:
    assert results[index] == LIST[index]


@pytest.mark.parametrize("wrong", [7, -8, "a", 1.5, slice(None, None, 0), slice("a", None)])
def test_what_a_list_refuses_is_refused(results: ResultSequence, wrong: Any) -> None:
    with pytest.raises((IndexError, TypeError, ValueError)) as ours:
        results[wrong]
    with pytest.raises((IndexError, TypeError, ValueError)) as usual:
        LIST[wrong]

    assert ours.type is usual.type
