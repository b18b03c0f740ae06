"""Checks a verdict against the schema that is published, by the keywords of JSON Schema 2020-12 that it uses."""

import json
from pathlib import Path
from typing import Any

SCHEMA = json.loads((Path(__file__).parents[2] / "slo" / "schemas" / "verdict.schema.json").read_text())
TYPES = {
    "object": dict, "array": list, "string": str, "boolean": bool, "integer": int, "number": (int, float),
    "null": type(None),
}  # fmt: skip
CHECKED = {
    *("$ref", "$schema", "$defs", "title", "description", "type", "enum", "const", "properties", "required"),
    *("items", "prefixItems", "minItems", "maxItems", "anyOf"),
}


def assert_published(verdict: Any) -> None:
    assert list(faults(verdict, SCHEMA, "verdict")) == []


def faults(value: Any, schema: Any, place: str):
    assert schema.keys() <= CHECKED, schema.keys() - CHECKED
    if "$ref" in schema:
        yield from faults(value, SCHEMA["$defs"][schema["$ref"].removeprefix("#/$defs/")], place)
    if "anyOf" in schema and all(list(faults(value, choice, place)) for choice in schema["anyOf"]):
        yield f"{place}: none of the forms"
    allowed = schema.get("enum", [schema.get("const", value)])
    if not _is(value, schema.get("type")) or value not in allowed:
        yield f"{place}: {value!r}"
    elif isinstance(value, dict):
        yield from _members(value, schema, place)
    elif isinstance(value, list):
        yield from _items(value, schema, place)


def _is(value, kind):
    return kind is None or (isinstance(value, TYPES[kind]) and (kind == "boolean" or not isinstance(value, bool)))


def _members(value, schema, place):
    properties = schema.get("properties", {})
    yield from (f"{place}: lacks {name}" for name in schema.get("required", ()) if name not in value)
    # What is written and not published, a reader could not have known.
    yield from (f"{place}: {name} is not published" for name in value if properties and name not in properties)
    for name in value.keys() & properties.keys():
        yield from faults(value[name], properties[name], f"{place}.{name}")


def _items(value, schema, place):
    if not schema.get("minItems", 0) <= len(value) <= schema.get("maxItems", len(value)):
        yield f"{place}: {len(value)} items"
    kinds = [*schema.get("prefixItems", ()), *[schema.get("items") or {}] * len(value)]
    for index, (item, kind) in enumerate(zip(value, kinds, strict=False)):
        yield from faults(item, kind, f"{place}[{index}]")
