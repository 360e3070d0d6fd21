"""The JSON Schema that editors use agrees with the loader, as far as a schema can."""

import json
import re
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from drawbar.document.fields import tables
from drawbar.document.mistakes import Report
from drawbar.document.readers import anything
from drawbar.document.schema import build_schema
from drawbar.document.tables import Table
from drawbar.document.yaml_source import parse_yaml
from tests.support.golden import ROOT
from tests.unit.test_document_fields import EXECUTIONER
from tests.unit.test_document_loader import OURS, STAGED_FLAT, STAGED_NESTED

SCHEMA = build_schema()
VALIDATOR = Draft202012Validator(SCHEMA)
EXAMPLES = sorted(
    path
    for path in (ROOT / "examples").glob("**/*.*")
    if path.suffix in (".yaml", ".json") and path.parent.name != "chaos"  # plans, no pipelines
)


def plain(text: str) -> Any:
    """What YAML 1.2 says: PyYAML's own constructors follow 1.1, where `on` is a truth."""
    root = parse_yaml(text)
    assert root is not None
    return anything(root, (), Report([]))


def complaints(document: object) -> list[str]:
    return [error.message for error in VALIDATOR.iter_errors(document)]


def test_the_schema_is_one() -> None:
    Draft202012Validator.check_schema(SCHEMA)


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_every_example_fits_the_schema(path: Any) -> None:
    assert complaints(plain(path.read_text())) == []


@pytest.mark.parametrize("text", [OURS, STAGED_FLAT, STAGED_NESTED])
def test_every_dialect_fits_the_schema(text: str) -> None:
    assert complaints(plain(text)) == []


def test_the_executioners_whole_format_fits_the_schema() -> None:
    assert complaints(EXECUTIONER) == []


@pytest.mark.parametrize(
    "document",
    [
        {},
        {"jobs": [{"command": "b"}]},
        {"jobs": [{"id": "a", "comand": "b"}]},
        {"jobs": [{"id": "a", "secrets": ["token"]}]},
        {"jobs": [], "timeout": "soon"},
        {"jobs": [], "max_workers": 1.5},
        {"jobs": [], "on_error": "retry"},
        {"jobs": [], "retry": {"on": ["oom"]}},
        {"jobs": [], "lock": "db"},
        {"jobs": [], "notify": {"webhook": "example.org"}},
        {"stages": [{"jobs": []}]},
    ],
)
def test_what_the_loader_refuses_by_its_shape_the_schema_refuses(document: object) -> None:
    assert complaints(document) != []


def test_a_template_may_stand_for_a_number() -> None:
    jobs = [{"id": "a", "command": "b", "timeout": "${{ params.t }}", "x-note": 1}]

    assert complaints({"jobs": jobs, "max_workers": "${{ params.n }}", "_old": []}) == []


@pytest.mark.parametrize("name", tables())
def test_every_field_of_every_mapping_is_in_the_schema_with_words(name: str) -> None:
    table: Table = tables()[name]
    there = SCHEMA if name == "pipeline" else SCHEMA["$defs"][name]

    assert set(there["properties"]) == set(table.fields)
    for spelling, schema in there["properties"].items():
        assert table.fields[spelling].about in schema["description"]
        validator = Draft202012Validator({**schema, "$defs": SCHEMA["$defs"]})
        assert all(validator.is_valid(example) for example in schema["examples"])


def test_every_reference_of_the_schema_leads_somewhere() -> None:
    named = set(re.findall(r'"#/\$defs/([^"]+)"', json.dumps(SCHEMA)))

    assert named == set(SCHEMA["$defs"])
