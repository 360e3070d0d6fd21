"""A list that another job left, or the instances of a mapped job: fetched as it is read."""

from __future__ import annotations

from _operator import index as _index
from collections.abc import Iterator, Sequence

from drawbar.sdk.current import ask

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


FARTHEST = 2**31  # that the protocol can name


class ResultSequence(Sequence[object]):
    """Read only. None stands where an instance left nothing."""

    is_result_sequence = True  # so that it can be returned as the list that it stands for

    def __init__(self, job: str, key: str) -> None:
        self._job = job
        self._key = key
        self._length: int | None = None

    def __len__(self) -> int:
        if self._length is None:
            self._length = int(ask("count_xcom", job=self._job, key=self._key)["count"])
        return self._length

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            start, stop, step = (_bounded(n) for n in (index.start, index.stop, index.step))
            if step == 0:
                raise ValueError("slice step cannot be zero")
            return list(self._slice(start, stop, step))
        index = _index(index)
        if not -len(self) <= index < len(self):
            raise IndexError(index)
        return ask("get_xcom_item", job=self._job, key=self._key, index=index)["value"]

    def __iter__(self) -> Iterator[Any]:
        return self._slice(None, None, None)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and not isinstance(other, str) and [*self] == [*other]

    __hash__ = None  # type: ignore[assignment]  # as a list

    def __repr__(self) -> str:
        return f"<results of {self._job}>"

    def _slice(self, start: int | None, stop: int | None, step: int | None) -> Iterator[Any]:
        while True:
            piece = ask(
                "get_xcom_slice", job=self._job, key=self._key, start=start, stop=stop, step=step
            )
            yield from piece["values"]
            start = piece["next_start"]
            if start is None:
                return


def _bounded(number: Any) -> int | None:
    """The same slice, as no sequence is longer."""
    return None if number is None else max(-FARTHEST, min(_index(number), FARTHEST))
