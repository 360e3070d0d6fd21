"""The JSON Schema of documents (draft 2020-12), made of the table of fields, for editors.

It knows fields, spellings and shapes. What only the whole tells (unknown names, circles, one of
command, script and argv) is left to `drawbar validate`: a file that others build upon may be
a part of a pipeline.
"""

from typing import Any, Final

from drawbar.document.fields import tables
from drawbar.document.tables import Field, Table

_COMMENTS: Final = {"^(_|x-)": {"description": "A comment: switched off, or kept for an anchor."}}


def build_schema() -> dict[str, Any]:
    """The whole schema; every kind of mapping is one of its `$defs`."""
    known = tables()
    names = {id(table): name for name, table in known.items()}
    values: dict[str, Any] = {}
    blocks = {name: _mapping(table, names, values) for name, table in known.items()}
    pipeline = blocks.pop("pipeline")
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "A pipeline of drawbar",
        "description": "Also the Executioner's JSON files and staged YAML. See `drawbar validate`.",
        **pipeline,
        "anyOf": [{"required": [name]} for name in ("jobs", "stages", "extends", "include")],
        "$defs": {**blocks, **dict(sorted(values.items()))},
    }


def _mapping(table: Table, names: dict[int, str], values: dict[str, Any]) -> dict[str, Any]:
    schema: dict[str, Any] = {
        "type": ["object", "null"],
        "properties": {
            name: _property(field, name, names, values) for name, field in table.fields.items()
        },
        "patternProperties": _COMMENTS,
        "additionalProperties": False,
    }
    for place in table.required:
        spellings = next(f for f in table.distinct() if f.place == place).names
        schema["anyOf"] = [{"required": [name]} for name in spellings]
    return schema


def _property(
    field: Field, name: str, names: dict[int, str], values: dict[str, Any]
) -> dict[str, Any]:
    about = field.about if name == field.names[0] else f"As `{field.names[0]}`: {field.about}"
    return {
        **_value(field, names, values),
        "description": about,
        "examples": [field.example],
    }


def _value(field: Field, names: dict[int, str], values: dict[str, Any]) -> dict[str, Any]:
    kind = field.kind
    inner = None if kind.block is None else {"$ref": f"#/$defs/{names[id(kind.block)]}"}
    match kind.name:
        case "checks":
            items = {"anyOf": [{"type": "string"}, inner]}
            return {"type": ["array", "null"], "items": items}
        case "artifacts":
            return {"anyOf": [*kind.schema["anyOf"], inner]}
        case "schedule or cron":
            return {"anyOf": [{"type": "string"}, inner]}
        case "jobs":
            return {"type": ["array", "null"], "items": {"$ref": "#/$defs/job"}}
        case "stages":
            item = {"anyOf": [{"type": ["string", "number"]}, {"$ref": "#/$defs/stage"}]}
            return {"type": ["array", "null"], "items": item}
        case "parameters":
            one = {"anyOf": [{"type": ["string", "number", "boolean"]}, {"$ref": "#/$defs/param"}]}
            return {"type": ["object", "null"], "additionalProperties": one}
    if inner is not None:
        return inner
    key = kind.name.replace(" ", "_").replace(",", "")
    values[key] = dict(kind.schema)
    return {"$ref": f"#/$defs/{key}"}
