"""Text that is no document: one clear message with a line, whatever it is."""

import json
from itertools import pairwise

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from drawbar.document import BadDocument, load_text
from drawbar.document.fields import JOB, PIPELINE
from drawbar.document.sources import MAX_BYTES
from tests.support.documents import mistakes_of, spec_of

TENS = "x-{}: &{} [{}]\n"
BOMB = TENS.format("a", "a", ", ".join("1" * 10)) + "".join(
    TENS.format(name, name, ", ".join([f"*{before}"] * 10))
    for before, name in pairwise("abcdefghi")
)


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ("", 1, "the file is empty"),
        ("# only\n# comments\n", 1, "the file is empty"),
        ("- a\n- b\n", 1, "found a list"),
        ("just text\n", 1, "found 'just text'"),
        ("name: x\n\tjobs: []\n", 2, "a tab is used for indentation"),
        ("name: x\njobs: [a\n", 3, "this is not YAML"),
        ("name: x\n  jobs: 3\n", 2, "this is not YAML"),
        ("name: 'x\n", 2, "this is not YAML"),
        ("name: *gone\n", 1, "the alias *gone has no anchor &gone before it"),
        ("name: x\njobs: &j [*j]\n", 2, "the alias *j contains itself"),
        ("name: !!python/object/apply:os.system [ls]\n", 1, "is not supported"),
        ("name: !secret x\n", 1, "the tag '!secret' is not supported"),
        ("name: x\n---\nname: y\n", 2, "a second document starts here"),
        ("? [a]\n: b\n", 1, "a key must be text"),
        ("a: b\n<<: 3\n", 2, "<< takes a mapping"),
        ("name: x\nenv: " + "[" * 100_000, 2, "nested deeper than 64 levels"),
        ("name: x\nenv: " + "{a: " * 100_000, 2, "nested deeper than 64 levels"),
        ("- " * 50_000, 1, "nested deeper than 64 levels"),
        (BOMB, 7, "holds more than 3,000,000 values"),
        ("name: a\x01b\n", 1, "is not allowed in YAML"),
    ],
)
def test_yaml_that_is_no_document_has_one_mistake_with_its_line(
    text: str, line: int, said: str
) -> None:
    [(found, message)] = mistakes_of(text.encode())

    assert (found, said in message) == (line, True), message


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ("", 1, "the file is empty"),
        ("[]", 1, "found a list"),
        ('{"name": "x",\n "jobs": [],}', 2, "expected a key in double quotes, found '}'"),
        ('{"name": "x"\n "jobs": []}', 2, "expected ',' or '}', found '\"'"),
        ('{"name": \n', 2, "expected a value, found the end of the file"),
        ('{"name": "x}\n', 1, "this is not JSON: Invalid control character"),
        ('{"a": NaN}', 1, "expected a value, found 'N'"),
        ('{"a": 01}', 1, "expected a value, found '0'"),
        ('{"a": "\\ud800"}', 1, "half of a surrogate pair"),
        ("{}\n{}", 2, "there is more text after it"),
        ('{"a":' + "[" * 100_000, 1, "nested deeper than 64 levels"),
    ],
)
def test_json_that_is_no_document_has_one_mistake_with_its_line(
    text: str, line: int, said: str
) -> None:
    [(found, message)] = mistakes_of(text, "p.json")

    assert (found, said in message) == (line, True), message


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ("", 1, "the pipeline has no jobs"),
        ("name = 'x'\nname = 'y'\n", 2, "this is not TOML"),
        ("name = 'x'\njobs = [\n", 2, "this is not TOML"),
        ("a = " + "[" * 100_000, 1, "nested deeper than 64 levels"),
    ],
)
def test_toml_that_is_no_document_has_one_mistake_with_its_line(
    text: str, line: int, said: str
) -> None:
    [(found, message)] = mistakes_of(text, "p.toml")

    assert (found, said in message) == (line, True), message


def test_lines_are_known_in_toml_and_json() -> None:
    toml = """\
        # A comment with [brackets] = and "quotes
        name = 'x'
        env.A = 1
        description = '''
        [[jobs]]
        '''
        [[jobs]]
        id = "a"
        command = "b"   # = ]
        needs = [
          "c", # gone
          "d",
        ]
        [jobs.retry]
        max = -1
        [[jobs]]
        "id" = "e"
        argv = ["a", "]"]
        timeout = 1979-05-27 07:32:00
        wrong = {x = 1}
        """
    found = mistakes_of(toml, "p.toml")

    assert [line for line, _ in found] == [11, 12, 15, 19, 20]
    assert "found '1979-05-27 07:32:00'" in found[3][1]
    json = '{"jobs": [\n {"id": "a",\n  "command": [],\n  "needs": [\n"b"]}]}'
    assert [line for line, _ in mistakes_of(json, "p.json")] == [3, 5]


def test_a_file_that_is_not_utf8_names_the_line() -> None:
    [(line, message)] = mistakes_of(b"name: x\nenv: {A: \xff}\n")

    assert line == 2
    assert message == "is not UTF-8 text (byte 0xff)"


def test_a_file_that_is_too_large_is_not_parsed() -> None:
    [(_, message)] = mistakes_of(b"#" * (MAX_BYTES + 1))

    assert message == "is larger than 16 MiB"


WORDS = "jobs id needs stages env retry << &a *a !!int [ ] { } a 1 ' \" # ? | --- null = , :"
PIECES = st.sampled_from([*WORDS.split(" "), ": ", "- ", "\n", "\n  ", "\t"])
FIELDS = st.sampled_from([*JOB.fields, *PIPELINE.fields])
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(FIELDS, inner, max_size=4),
    max_leaves=25,
)


def outcome(text: str, file: str) -> str:
    """What became of `text`: a pipeline, or mistakes."""
    try:
        return repr(load_text(text, file).spec)
    except BadDocument as bad:
        return bad.format_mistakes()


@pytest.mark.parametrize("file", ["p.yaml", "p.json", "p.toml"])
@given(text=st.text() | st.lists(PIECES, max_size=40).map("".join))
def test_any_text_is_a_pipeline_or_a_bad_document(file: str, text: str) -> None:
    assert outcome(text, file)


@given(value=st.dictionaries(FIELDS, VALUES))
def test_any_value_in_any_field_is_a_pipeline_or_mistakes(value: dict[str, object]) -> None:
    assert outcome(json.dumps(value), "p.json")


@given(name=st.text(min_size=1, max_size=20), command=st.text(min_size=1, max_size=20))
def test_texts_arrive_as_they_were_written(name: str, command: str) -> None:
    text = json.dumps({"jobs": [{"id": "a", "argv": [name, command]}]}, ensure_ascii=False)

    assume("\x00" not in name + command)

    assert spec_of(text, "p.json").jobs[0].argv == (name, command)
