"""The published JSON Schema of a specification, derived from the Structs that read it; for editors.

An editor checks one document at a time: references, series and limits are for `goshop slo check`.
"""

import re
from typing import Any, Final

import msgspec

from slo.openslo import specs
from slo.openslo.documents import KINDS
from slo.openslo.metadata import GOSHOP, OPENSLO, Annotations

DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
TITLE: Final = "GoShop's specification of service levels"


def json_schema() -> dict[str, Any]:
    """Return the schema: any document, chosen by its `kind`, so that an editor's message is about that kind alone."""
    kinds = {kind: struct for version in (OPENSLO, GOSHOP) for kind, struct in KINDS[version].items()}
    _, definitions = msgspec.json.schema_components(kinds.values(), ref_template="#/$defs/{name}")
    definitions = {name: _narrowed(name, _tidied(part)) for name, part in sorted(definitions.items())}
    # Other people's annotations are theirs.
    definitions[Annotations.__name__]["additionalProperties"] = {"type": "string"}
    own = [re.escape(field.encode_name) for field in msgspec.structs.fields(Annotations)]
    definitions[Annotations.__name__]["patternProperties"] = {
        f"^(?!({'|'.join(own)})$){re.escape(Annotations.OWN_PREFIX)}": False
    }
    return {
        "$schema": DIALECT,
        "title": TITLE,
        "description": "OpenSLO v1 as far as it is read (https://github.com/OpenSLO/OpenSLO), and goshop/v1.",
        "type": "object",
        "required": ["apiVersion", "kind", "metadata"],
        "properties": {"apiVersion": {"enum": [OPENSLO, GOSHOP]}, "kind": {"enum": sorted(kinds)}},
        "allOf": [
            {
                "if": {"required": ["kind"], "properties": {"kind": {"const": kind}}},
                "then": {"$ref": f"#/$defs/{struct.__name__}"},
            }
            for kind, struct in sorted(kinds.items())
        ],
        "$defs": definitions,
    }


def rendered() -> bytes:
    """Return the schema as the file that is published."""
    return msgspec.json.format(msgspec.json.encode(json_schema()), indent=2) + b"\n"


def _narrowed(name: str, part: dict[str, Any]) -> dict[str, Any]:
    """Say of a truth value that is outside the subset that it must be the other one."""
    outside: dict[str, dict[str, str]] = getattr(getattr(specs, name, None), "OUTSIDE_VALUES", {})
    for key, reasons in outside.items():
        if {"True", "False"} & reasons.keys():
            part["properties"][key]["const"] = "False" in reasons
    return part


def _tidied(part: Any) -> Any:
    """Leave out null, which is never written, and defaults, which say what was not."""
    if isinstance(part, list):
        return [_tidied(item) for item in part]
    if not isinstance(part, dict):
        return part
    (choice,) = [choice for choice in part.get("anyOf", [{}]) if choice != {"type": "null"}]
    rest = {key: _tidied(value) for key, value in part.items() if key not in {"anyOf", "default"}}
    return {**_tidied(choice), **rest} if choice else rest
