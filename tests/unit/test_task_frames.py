"""Frames between supervisor and task runner: as they look, and what becomes of garbage."""

import json
import typing
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import JsonValue

from shared.errors import BadRequest, UnknownVariable
from shared.ids import AttemptId, JobId, RunId
from shared.protocol import execution as e
from shared.protocol import task as t
from shared.protocol.gateway import DependencyResult
from shared.protocol.pipeline import LiteralArgument, ResultArgument, TaskSpec
from shared.protocol.states import JobStatus
from tests.support.golden import ROOT, assert_golden, assert_golden_block

START = t.StartFrame(
    protocol=t.VERSION,
    attempt_id=AttemptId("01890000-0000-7000-8000-000000000000"),
    run_id=RunId(7),
    pipeline="etl",
    job_id=JobId("load"),
    map_index=None,
    tries=1,
    tries_left=2,
    should_retry=True,
    timeout_s=60.0,
    started_at=datetime(2026, 1, 1, 12, 0, tzinfo=UTC),
    logical_date=None,
    params={"day": "monday"},
    dependencies=(
        DependencyResult(job_id=JobId("extract"), status=JobStatus.SUCCESS, exit_code=0),
    ),
    task=TaskSpec(
        module="flow",
        function="load",
        file="flow.py",
        bundle="0" * 64,
        args=(ResultArgument(job="extract"),),
        kwargs={"limit": LiteralArgument(value=10)},
    ),
    folder="/var/lib/drawbar/bundles/" + "0" * 64,
    resume=None,
)
CONNECTION = e.Connection(
    name="warehouse", kind="postgres", host="db", port=5432, user="etl", password="hunter22"
)
ASKED: list[tuple[t.Request, bytes]] = [
    (
        e.GetVariable(key="region"),
        t.encode_reply(1, e.Variable(key="region", value="eu", is_secret=False)),
    ),
    (e.SetVariable(key="region", value="eu"), t.encode_reply(2, None)),
    (e.DeleteVariable(key="region"), t.encode_reply(3, None)),
    (e.ListVariables(prefix="re"), t.encode_reply(4, e.Keys(keys=("region",)))),
    (e.GetConnection(name="warehouse"), t.encode_reply(5, CONNECTION)),
    (e.SetConnection(connection=CONNECTION), t.encode_reply(6, None)),
    (e.DeleteConnection(name="warehouse"), t.encode_reply(7, None)),
    (e.ListConnections(), t.encode_reply(8, e.Keys(keys=("warehouse",)))),
    (e.GetXCom(job="extract"), t.encode_reply(9, e.XCom(value=[1, 2, 3], is_found=True))),
    (e.CountXCom(job="extract"), t.encode_reply(10, e.XComCount(count=3))),
    (
        e.GetXComItem(job="extract", index=-1),
        t.encode_reply(11, e.XCom(value=3, is_found=True)),
    ),
    (
        e.GetXComSlice(job="extract", start=0, stop=2),
        t.encode_reply(12, e.XComSlice(values=(1, 2))),
    ),
    (e.SetXCom(value={"rows": 3}), t.encode_reply(13, None)),
    (e.DeleteXCom(key="old"), t.encode_reply(14, None)),
    (e.ListXComs(), t.encode_reply(15, e.Keys(keys=("return_value",)))),
    (t.MaskSecret(values=("hunter22",)), t.encode_reply(16, None)),
    (t.PublishArtifact(path="out/report.csv"), t.encode_reply(17, None)),
    (e.Succeed(), t.encode_reply(18, None)),
    (e.Fail(reason="ValueError: no rows"), t.encode_reply(19, None)),
    (e.Skip(reason="nothing new"), t.encode_reply(20, None)),
    (e.Retry(reason="locked", delay_s=5.0), t.encode_reply(21, None)),
    (
        e.Defer(
            trigger=e.TriggerSpec(kind="time", params={"at": "2026-01-01T13:00:00Z"}),
            next_method="after_the_wait",
        ),
        t.encode_reply(22, None),
    ),
    (
        e.Reschedule(at=datetime(2026, 1, 1, 13, 0, tzinfo=UTC), reason="not there yet"),
        t.encode_reply(23, None),
    ),
    (
        e.NewCallback(),
        t.encode_reply(24, e.Callback(callback_id="0189", url="https://jobs/v1/callbacks/0189/s")),
    ),
]


def conversation() -> str:
    """Every frame, as it stands on the wire."""
    lines = [b"> " + t.encode_start(START)]
    for number, (request, reply) in enumerate(ASKED, start=1):
        lines += [b"< " + t.encode_request(number, request), b"> " + reply]
    lines += [
        b'< {"id":25,"ask":"get_variable","key":"none"}\n',
        b"> " + t.encode_error(25, UnknownVariable(key="none")),
        b"< this is no frame\n",
        b"> " + t.encode_error(None, BadRequest("not a line of JSON")),
    ]
    return b"".join(lines).decode()


def test_the_frames_are_golden() -> None:
    assert_golden("task_frames.txt", conversation())


def test_the_page_shows_the_golden_frames() -> None:
    assert_golden_block(ROOT / "docs/task-protocol.md", "frames", conversation())


def test_every_request_is_among_the_golden_ones() -> None:
    union = typing.get_args(typing.get_args(t.Request)[0])

    assert {type(request) for request, _ in ASKED} == set(union)


def test_the_page_lists_every_request() -> None:
    page = (ROOT / "docs/task-protocol.md").read_text()

    assert [request.ask for request, _ in ASKED if f"| `{request.ask}` |" not in page] == []


@pytest.mark.parametrize("request_", [request for request, _ in ASKED], ids=lambda r: r.ask)
def test_a_request_is_read_as_it_was_written(request_: t.Request) -> None:
    line = t.encode_request(5, request_)

    assert t.decode_request(line) == (5, request_)
    assert line.count(b"\n") == 1


@pytest.mark.parametrize(
    ("line", "number", "says"),
    [
        (b"", None, "not a line of JSON"),
        (b'{"id":1,', None, "not a line of JSON"),
        (b"\xff\xfe\x00", None, "not a line of JSON"),
        (b"[" * 100_000, None, "recursion"),
        (b"[1]", None, "a frame is a JSON object, this is a list"),
        (b'{"ask":"skip"}', None, "'id' must be a whole number"),
        (b'{"id":true,"ask":"skip"}', None, "'id' must be a whole number"),
        (b'{"id":-1,"ask":"skip"}', None, "'id' must be a whole number"),
        (b'{"id":4}', 4, "there is no 'ask'"),
        (b'{"id":4,"ask":"fly"}', 4, "unknown ask 'fly'"),
        (b'{"id":4,"ask":["skip"]}', 4, "unknown ask"),
        (b'{"id":4,"ask":"get_variable"}', 4, "get_variable.key: Field required"),
        (b'{"id":4,"ask":"set_xcom","value":NaN}', None, "not a line of JSON"),
        (b'{"id":4,"ask":"set_xcom","value":"\\ud800"}', None, "not a line of JSON"),
        (b'{"id":4,"ask":"publish_artifact","path":"../x"}', 4, "must be relative"),
        (b'{"id":4,"ask":"reschedule","at":"2026-01-01T00:00:00"}', 4, "timezone"),
        (b" " * (t.FRAME_BYTES + 1), None, "may have 8388608 bytes"),
    ],
)
def test_what_is_no_request_is_told_why(line: bytes, number: int | None, says: str) -> None:
    with pytest.raises(t.BadFrame, match=says.replace("(", r"\(")) as caught:
        t.decode_request(line)

    assert caught.value.id == number


def test_a_complaint_does_not_repeat_the_value() -> None:
    line = b'{"id":4,"ask":"set_variable","key":"k","value":"hunter22","is_secret":"hunter22"}'

    with pytest.raises(t.BadFrame) as caught:
        t.decode_request(line)

    assert "hunter22" not in str(caught.value)


def reread(line: bytes) -> str:
    """What became of the line: the same request again, or a complaint that can be answered."""
    try:
        number, request = t.decode_request(line)
    except t.BadFrame as bad:
        return t.encode_error(bad.id, BadRequest(str(bad))).decode()
    again = t.decode_request(t.encode_request(number, request))
    return "same" if again == (number, request) else f"{request} became {again}"


@given(st.binary(max_size=400))
def test_any_bytes_are_a_request_or_a_bad_frame(line: bytes) -> None:
    assert reread(line) == "same" or "bad_request" in reread(line)


TEXTS = [
    "",
    "extract",
    "a/b",
    "\n",
    "\ud800",
    "ä😀",
    "kind",
    "name",
    "2026-01-01T12:00:00Z",
    "9" * 300,
]
json_values: st.SearchStrategy[JsonValue] = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.sampled_from(TEXTS),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(TEXTS), inner, max_size=3)
    ),
    max_leaves=5,
)
FIELDS = sorted({name for request, _ in ASKED for name in type(request).model_fields} | {"id"})


@given(
    st.sampled_from([request.ask for request, _ in ASKED]),
    st.dictionaries(st.sampled_from(FIELDS), json_values, max_size=6),
    st.integers(0, 20),
)
def test_any_fields_are_a_request_or_a_bad_frame(
    ask: str, fields: dict[str, JsonValue], cut: int
) -> None:
    line = json.dumps({"id": 1, **fields, "ask": ask}).encode()
    for text in (line, line[: max(0, len(line) - cut)]):
        assert reread(text) == "same" or "bad_request" in reread(text)
