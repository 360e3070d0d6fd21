"""The schema that the numbered migrations lead to, as a text: a change of it is a diff."""

import re
import sqlite3
from importlib.resources import files

import pytest

from tests.support.golden import assert_golden

STORES = {"jobstore": "jobstore.store", "registry": "registry"}


@pytest.mark.parametrize("name", STORES)
def test_the_golden_schema_is_what_the_migrations_lead_to(name: str) -> None:
    folder = files(STORES[name]).joinpath("migrations")
    scripts = {f.name: f.read_text() for f in folder.iterdir() if f.name.endswith(".sql")}
    database = sqlite3.connect(":memory:")

    for script in sorted(scripts):
        database.executescript(scripts[script])
    found = database.execute("SELECT sql FROM sqlite_master WHERE sql IS NOT NULL ORDER BY name")
    schema = "".join(f"{_plain(sql)};\n" for (sql,) in found)
    database.close()

    assert_golden(f"schema_{name}.sql", schema)


def _plain(sql: str) -> str:
    """Without comments, which may be mended without a migration."""
    return re.sub(r"[ ]*--[^\n]*", "", sql)
