"""docs/pipelines.md lists every field, in every spelling, as the loader knows it."""

import json
import re

import pytest
import yaml

from drawbar.document import load_text
from drawbar.document.dialects import EXECUTIONER, OURS, Defaults
from drawbar.document.fields import tables
from drawbar.document.jobs import MAX_NEEDS
from drawbar.document.nodes import MAX_DEPTH, MAX_NODES
from drawbar.document.sources import MAX_BYTES, MAX_NAMED, MAX_TOML_BYTES
from drawbar.document.tables import Field, Table
from drawbar.document.templates import MAX_FILLED
from drawbar.document.variables import MAX_VALUE
from shared.protocol.pipeline import MAX_JOBS
from tests.support.golden import ROOT, assert_golden_part

PAGE = ROOT / "docs" / "pipelines.md"


@pytest.mark.parametrize("name", tables())
def test_the_page_has_the_golden_table_of_every_kind_of_mapping(name: str) -> None:
    assert_golden_part(PAGE, f"fields: {name}", rendered(tables()[name]))


def test_the_pipelines_of_the_page_can_be_run() -> None:
    texts = re.findall(r"```yaml\n(.*?)```", PAGE.read_text(), re.DOTALL)

    assert texts
    for text in texts:
        assert load_text(text, "page.yaml").spec.jobs


def test_the_page_names_the_bounds() -> None:
    (bounds,) = re.findall(r"^## Bounds\n(.*)", PAGE.read_text(), re.MULTILINE | re.DOTALL)

    mib = 1024 * 1024
    for bound in (MAX_NODES, MAX_DEPTH, MAX_JOBS, MAX_NEEDS, MAX_VALUE, MAX_NAMED):
        assert f"{bound:,}" in bounds
    for size in (MAX_BYTES, MAX_TOML_BYTES, MAX_FILLED):
        assert f"{size // mib} MiB" in bounds


@pytest.mark.parametrize(("column", "defaults"), [(1, OURS), (2, EXECUTIONER)])
def test_the_page_names_the_defaults_of_a_dialect(column: int, defaults: Defaults) -> None:
    retry = defaults.retry
    rows = [line.split("|")[1:-1] for line in PAGE.read_text().splitlines() if line[:2] == "| "]
    said = {row[0].strip(): row[column] for row in rows if len(row) == 3}

    assert f"`{defaults.on_error}`" in said["after a failure that counts"]
    numbers = said["`retry` where retries are given"]
    assert (
        f"delay {retry.delay_s:g} s, backoff {retry.backoff:g}, jitter {retry.jitter:g}" in numbers
    )
    assert said["what is tried again"].strip() == ", ".join(retry.on)


def rendered(table: Table) -> str:
    rows = [
        "| field | other spellings | holds | what it says | for example |",
        "|---|---|---|---|---|",
        *(_row(field, table) for field in table.distinct()),
    ]
    return "\n".join(rows) + "\n"


def _row(field: Field, table: Table) -> str:
    own, *others = field.names
    spellings = ", ".join(f"`{name}`" for name in others)
    needed = " (needed)" if field.place in table.required else ""
    return (
        f"| `{own}` | {spellings} | {_holds(field)} | {field.about}{needed} | `{_example(field)}` |"
    )


def _holds(field: Field) -> str:
    return "a word" if "enum" in field.kind.schema else field.kind.name


def _example(field: Field) -> str:
    example = field.example
    if isinstance(example, str):
        example = example if yaml.safe_load(example) == example else json.dumps(example)
        return example.replace("|", "\\|")
    return json.dumps(example).replace("|", "\\|")
