"""XComs: values that jobs of one run leave for each other.

Those over the inline limit are blobs, by their hash; whoever reads one cannot tell.
"""

import hashlib
import sqlite3
from collections import OrderedDict
from functools import partial
from typing import Final, NamedTuple

from pydantic import JsonValue
from pydantic_core import from_json, to_json

from jobstore.artifacts import Artifacts, one_piece
from jobstore.execution_data import rows
from shared.errors import BadRequest, TooLarge, Unavailable
from shared.protocol import execution as e
from shared.protocol.gateway import ArtifactEntry
from shared.sqlite import Database

INLINE_BYTES: Final = 64 * 1024  # larger values would make every copy of the database larger
MOST_OF_A_SLICE: Final = e.MAX_LISTED
READ_LATELY: Final = 4  # of up to 4 MiB: each instance of a mapped job takes an item of the same


class _Slice(NamedTuple):
    values: list[rows.Value]
    source: rows.Value | None  # the blob of which these are items
    places: range


class XComs:
    """In the tables beside those of the jobs, and among the blobs."""

    def __init__(self, database: Database, artifacts: Artifacts) -> None:
        self._db = database
        self._artifacts = artifacts
        self._read_lately: OrderedDict[str, JsonValue] = OrderedDict()

    async def get_xcom(self, attempt_id: str, run_id: int, ask: e.GetXCom) -> e.XCom:
        def read(conn: sqlite3.Connection) -> list[rows.Value] | rows.Value | None:
            if ask.job is None:
                return rows.find(conn, attempt_id, ask.key)
            source = rows.source_of(conn, run_id, ask.job)
            if source.instances is None:
                return rows.find(conn, source.attempt_id, ask.key)
            if ask.map_index is not None:
                found = source.instances[ask.map_index : ask.map_index + 1]
                return rows.find(conn, found[0], ask.key) if found else None
            return rows.items(conn, source, ask.key, range(len(source.instances)))

        found = await self._db.read(read)
        if not isinstance(found, list):
            return await self._told(found)
        if sum(value.size_bytes for value in found) > 2 * e.MAX_VALUE_BYTES:
            raise TooLarge(f"what {ask.job!r} left is too long for one answer: read it in slices")
        return e.XCom(value=[await self._open(value) for value in found], is_found=True)

    async def count_xcom(self, run_id: int, ask: e.CountXCom) -> e.XComCount:
        return await self._db.read(
            lambda conn: e.XComCount(
                count=rows.length(conn, rows.source_of(conn, run_id, ask.job), ask.key)
            )
        )

    async def get_xcom_item(self, run_id: int, ask: e.GetXComItem) -> e.XCom:
        def read(conn: sqlite3.Connection) -> _Slice | None:
            source = rows.source_of(conn, run_id, ask.job)
            count = rows.length(conn, source, ask.key)
            place = ask.index + count if ask.index < 0 else ask.index
            if not 0 <= place < count:
                return None
            return _cut(conn, source, ask.key, range(place, place + 1))

        found = await self._db.read(read)
        if found is None:
            return await self._told(None)
        return e.XCom(value=(await self._values(found))[0], is_found=True)

    async def get_xcom_slice(self, run_id: int, ask: e.GetXComSlice) -> e.XComSlice:
        if ask.step == 0:
            raise BadRequest("the step of a slice cannot be 0")

        def read(conn: sqlite3.Connection) -> tuple[_Slice, range]:
            source = rows.source_of(conn, run_id, ask.job)
            count = rows.length(conn, source, ask.key)
            places = range(count)[ask.start : ask.stop : ask.step]
            return _cut(conn, source, ask.key, places[:MOST_OF_A_SLICE]), places

        cut, places = await self._db.read(read)
        values = await self._values(cut._replace(values=_as_many_as_travel(cut.values)))
        next_start = places[len(values)] if len(values) < len(places) else None
        return e.XComSlice(values=tuple(values), next_start=next_start)

    async def set_xcom(self, attempt_id: str, ask: e.SetXCom) -> None:
        text = to_json(ask.value)
        if len(text) > e.MAX_VALUE_BYTES:
            raise TooLarge(
                f"an XCom may have {e.MAX_VALUE_BYTES} bytes, and this one has {len(text)}:"
                " keep it as an artifact and leave its name",
                limit_bytes=e.MAX_VALUE_BYTES,
            )
        if len(text) <= INLINE_BYTES:
            await self._db.write(
                partial(
                    rows.keep,
                    attempt_id=attempt_id,
                    key=ask.key,
                    value=text.decode(),
                    large=None,
                )
            )
            return
        sha256 = hashlib.sha256(text).hexdigest()
        length = len(ask.value) if isinstance(ask.value, list) else None
        large = rows.Large(sha256, len(text), _kind(ask.value), length)
        entry = ArtifactEntry(path="xcom.json", size_bytes=len(text), sha256=sha256)
        with self._artifacts.keep([sha256]):  # until the row says that it is used
            await self._artifacts.put(entry, one_piece(text))
            await self._db.write(
                partial(rows.keep, attempt_id=attempt_id, key=ask.key, value="null", large=large)
            )

    async def delete_xcom(self, attempt_id: str, ask: e.DeleteXCom) -> None:
        await self._db.write(partial(rows.drop, attempt_id=attempt_id, key=ask.key))

    async def list_xcoms(self, attempt_id: str, run_id: int, ask: e.ListXComs) -> e.Keys:
        def read(conn: sqlite3.Connection) -> list[str]:
            if ask.job is None:
                return rows.keys(conn, rows.Source(attempt_id, None))
            return rows.keys(conn, rows.source_of(conn, run_id, ask.job))

        return e.Keys(keys=tuple(await self._db.read(read)))

    # -- details -------------------------------------------------------------------------------

    async def _told(self, value: rows.Value | None) -> e.XCom:
        if value is None:
            return e.XCom(value=None, is_found=False)
        return e.XCom(value=await self._open(value), is_found=True)

    async def _values(self, cut: _Slice) -> list[JsonValue]:
        if cut.source is None:
            return [await self._open(value) for value in cut.values]
        whole = await self._open(cut.source)
        assert isinstance(whole, list), "its row says so"
        return [whole[place] for place in cut.places]

    async def _open(self, value: rows.Value) -> JsonValue:
        sha256 = value.sha256
        if sha256 is None:
            opened: JsonValue = from_json(value.text)
            return opened
        if sha256 not in self._read_lately:
            text = bytearray()
            async for piece in self._artifacts.read(sha256):
                text += piece
            if len(text) != value.size_bytes:
                raise Unavailable("the value was replaced while it was read", service="jobstore")
            self._read_lately[sha256] = from_json(bytes(text))
            while len(self._read_lately) > READ_LATELY:
                self._read_lately.popitem(last=False)
        self._read_lately.move_to_end(sha256)
        return self._read_lately[sha256]


def _cut(conn: sqlite3.Connection, source: rows.Source, key: str, places: range) -> _Slice:
    if source.instances is None:
        whole = rows.find(conn, source.attempt_id, key)
        if whole is not None and whole.sha256 is not None:
            return _Slice([], whole, places)
    return _Slice(rows.items(conn, source, key, places), None, places)


def _as_many_as_travel(values: list[rows.Value]) -> list[rows.Value]:
    """One, and what else has room beside it in one answer."""
    size = 0
    for n, value in enumerate(values):
        size += value.size_bytes
        if n and size > e.MAX_VALUE_BYTES:
            return values[:n]
    return values


def _kind(value: JsonValue) -> str:
    match value:
        case list():
            return "array"
        case dict():
            return "object"
        case _:
            return "text"  # nothing else is that long
