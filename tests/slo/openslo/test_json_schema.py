"""The published schema takes what the loader takes, and refuses what it refuses for its form alone."""

import json
import re
from pathlib import Path

import pytest
import yaml

from slo.openslo.json_schema import json_schema
from slo.strict_yaml import parse_documents

HERE = Path(__file__).parent
ROOT = HERE.parents[2]
SCHEMA = json.loads((ROOT / "slo" / "schemas" / "openslo.schema.json").read_text())
GOOD = (HERE / "good.yaml").read_text()
CASES = {case["case"]: case for case in yaml.safe_load((HERE / "malformed.yaml").read_text())}
TYPES = {"object": dict, "array": list, "string": str, "boolean": bool, "number": (int, float)}
CHECKED = {
    *("$ref", "$schema", "$defs", "title", "description", "type", "enum", "const", "properties", "required", "allOf"),
    *("additionalProperties", "patternProperties", "propertyNames", "items", "pattern", "minLength", "maxLength"),
    *("minItems", "maxItems", "if", "then"),
}


def is_valid(value, schema):
    """Check the keywords of JSON Schema 2020-12 that are used."""
    if isinstance(schema, bool):
        return schema
    assert schema.keys() <= CHECKED
    return all(check(value, schema) for check in (_by_reference, _by_type, _by_text, _by_items, _by_members))


def _by_reference(value, schema):
    own = SCHEMA["$defs"][schema["$ref"].removeprefix("#/$defs/")] if "$ref" in schema else {}
    condition = "if" not in schema or not is_valid(value, schema["if"]) or is_valid(value, schema["then"])
    return condition and (not own or is_valid(value, own)) and all(is_valid(value, s) for s in schema.get("allOf", []))


def _by_type(value, schema):
    kind = TYPES.get(schema.get("type"), object)
    is_kind = isinstance(value, kind) and (kind is bool or not isinstance(value, bool) or kind is object)
    return is_kind and value in schema.get("enum", [value]) and value == schema.get("const", value)


def _by_text(value, schema):
    if not isinstance(value, str):
        return True
    fits = schema.get("minLength", 0) <= len(value) <= schema.get("maxLength", len(value))
    return fits and re.search(schema.get("pattern", ""), value) is not None


def _by_items(value, schema):
    if not isinstance(value, list):
        return True
    fits = schema.get("minItems", 0) <= len(value) <= schema.get("maxItems", len(value))
    return fits and all(is_valid(item, schema.get("items", True)) for item in value)


def _by_members(value, schema):
    if not isinstance(value, dict):
        return True
    named, patterns = schema.get("properties", {}), schema.get("patternProperties", {})
    for key, member in value.items():
        matching = [part for pattern, part in patterns.items() if re.search(pattern, key)]
        parts = [named[key]] if key in named else matching or [schema.get("additionalProperties", True)]
        if not is_valid(key, schema.get("propertyNames", True)):
            return False
        if not all(is_valid(member, part) for part in (*parts, *matching)):
            return False
    return set(schema.get("required", [])) <= value.keys()


def are_valid(text):
    return all(is_valid(document.value, SCHEMA) for document in parse_documents(text.encode(), "spec.yaml"))


def test_the_published_schema_is_the_one_of_the_structs():
    assert json_schema() == SCHEMA


def test_what_the_loader_takes_the_schema_takes():
    assert are_valid(GOOD)
    for path in (ROOT / "slo" / "specs").glob("*.yaml"):
        assert are_valid(path.read_text()), path


@pytest.mark.parametrize(
    "case",
    [
        "a misspelt key",
        "a key that is missing",
        "a name in capitals",
        "a label with a dash",
        "a misspelt annotation of ours",
        "an annotation that is no string",
        "a data source that is not Prometheus",
        "a threshold metric",
        "a gauge",
        "an alert of an end",
        "two objectives in one SLO",
        "an objective that is a string",
        "time slices",
        "a calendar's window",
        "a severity of other people",
        "an endpoint without its method",
        "a throughput without a unit",
        "the kind that ReleaseGate replaced",
    ],
)
def test_what_is_wrong_by_its_form_an_editor_shows(case):
    assert not are_valid(GOOD.replace(CASES[case]["was"], CASES[case]["now"]))


@pytest.mark.parametrize("path", sorted((ROOT / "slo" / "specs").glob("*.yaml")), ids=lambda path: path.name)
def test_every_specification_tells_editors_where_the_schema_is(path):
    (named,) = re.findall(r"yaml-language-server: \$schema=(\S+)", path.read_text())
    assert json.loads((path.parent / named).read_text()) == SCHEMA
