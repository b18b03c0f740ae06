"""The published JSON Schema of `verdict.json`, derived from the Structs that write it."""

from inspect import cleandoc
from typing import Any, Final

import msgspec

from slo.verdict import SCHEMA, Verdict

DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
TITLE: Final = "Verdict of goshop gate"


def verdict_schema() -> dict[str, Any]:
    """Return the schema: every member is always written, further ones may come without the number counting up."""
    (reference,), definitions = msgspec.json.schema_components([Verdict], ref_template="#/$defs/{name}")
    for definition in definitions.values():
        definition["description"] = cleandoc(definition["description"])
        definition["required"] = list(definition["properties"])
        for member in definition["properties"].values():
            member.pop("default", None)
    definitions[Verdict.__name__]["properties"]["schema"] = {"const": SCHEMA}
    return {"$schema": DIALECT, "title": TITLE, **reference, "$defs": dict(sorted(definitions.items()))}


def rendered() -> bytes:
    """Return the schema as the file that is published."""
    return msgspec.json.format(msgspec.json.encode(verdict_schema()), indent=2) + b"\n"
