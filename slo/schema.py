"""Checks strictly read documents against msgspec Structs and reports every fault at its place.

msgspec itself stops at the first fault and names unknown keys without their position; here the Structs' fields are
walked, so that one run shows all there is to mend. What is expected is said by the `description` of a type's
`msgspec.Meta`, which the published JSON Schema says too. A Struct may name what others write there and we do not read:

    OUTSIDE: ClassVar = {"composite": "what to write instead"}                        keys
    OUTSIDE_VALUES: ClassVar = {"budgetingMethod": {"Timeslices": "..."}}             values ("*": any other string)

or leave keys to others, as long as they do not begin like its own, and are strings: `OWN_PREFIX: ClassVar = "mine/"`.
"""

import difflib
import types
from collections.abc import Iterator
from functools import cache
from typing import Annotated, Any, Final, Literal, TypeVar, Union, get_args, get_origin

import msgspec

from slo.strict_yaml import Document, Fault, Path_

S = TypeVar("S", bound=msgspec.Struct)
OUTSIDE: Final = "outside the subset of OpenSLO that is read"
# Characters of a value that a message shows.
SHOWN: Final = 60
# Names that a message lists.
MOST_KNOWN: Final = 20


def faults_of(document: Document, kind: type[msgspec.Struct]) -> Iterator[Fault]:
    """Yield everything about a document that is not as `kind` wants it."""
    yield from _faults(document, document.value, kind, ())


def convert(document: Document, kind: type[S]) -> S:
    """Return a document without faults as a `kind`."""
    return msgspec.convert(document.value, kind, strict=True)


def shown(value: Any) -> str:
    """Return a value as messages show it."""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict | list):
        return "a mapping" if isinstance(value, dict) else f"a list of {len(value)}"
    text = repr(value)
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}…"


def suggestion(word: str, known: list[str]) -> str:
    """Return what may have been meant, as the end of a message."""
    close = difflib.get_close_matches(word[:SHOWN], known, 1)
    if close:
        return f"; did you mean {close[0]!r}?"
    more = f" and {len(known) - MOST_KNOWN} more" if len(known) > MOST_KNOWN else ""
    return f"; known are {', '.join(known[:MOST_KNOWN])}{more}" if known else "; there are none"


def _faults(document: Document, value: Any, kind: Any, path: Path_) -> Iterator[Fault]:
    kind = _without_none(kind, value)
    if get_origin(kind) is Annotated:
        # First what is inside, each fault at its own place; then the constraints on the whole.
        base = get_args(kind)[0]
        inner = list(_faults(document, value, base, path)) if get_origin(base) in {list, tuple, dict} else []
        yield from inner or _leaf_faults(document, value, kind, path)
    elif isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        yield from _struct_faults(document, value, kind, path)
    elif get_origin(kind) in {list, tuple} and isinstance(value, list):
        for index, item in enumerate(value):
            yield from _faults(document, item, get_args(kind)[0], (*path, index))
    elif get_origin(kind) is dict and isinstance(value, dict):
        yield from _mapping_faults(document, value, get_args(kind), path)
    else:
        yield from _leaf_faults(document, value, kind, path)


def _without_none(kind: Any, value: Any) -> Any:
    """Strip `| None` where the value is not None, so that a Struct behind it is walked."""
    if value is None or get_origin(kind) not in {Union, types.UnionType}:
        return kind
    rest = [part for part in get_args(kind) if part is not types.NoneType]
    return rest[0] if len(rest) == 1 else kind


@cache
def _fields(kind: type[msgspec.Struct]) -> dict[str, msgspec.structs.FieldInfo]:
    """Return the fields as documents spell them; msgspec evaluates every annotation again each time it is asked."""
    return {field.encode_name: field for field in msgspec.structs.fields(kind)}


def _struct_faults(document: Document, value: Any, kind: type[msgspec.Struct], path: Path_) -> Iterator[Fault]:
    if not isinstance(value, dict):
        yield document.locate(path, f"expected a mapping, got {shown(value)}")
        return
    fields = _fields(kind)
    outside: dict[str, str] = getattr(kind, "OUTSIDE", {})
    own: str | None = getattr(kind, "OWN_PREFIX", None)
    for key in value:
        if key in outside:
            yield document.locate((*path, key), f"{key!r} is {OUTSIDE}: {outside[key]}", key=True)
        elif key not in fields and own is not None and not key.startswith(own):
            yield from _leaf_faults(document, value[key], str, (*path, key))
        elif key not in fields:
            yield document.locate((*path, key), f"unknown key {key[:SHOWN]!r}{suggestion(key, list(fields))}", key=True)
    for name, field in fields.items():
        if name in value:
            yield from _field_faults(document, value[name], kind, field, (*path, name))
        elif field.required and not outside.keys() & value.keys():
            # What stands there instead has been refused already.
            yield document.locate(path, f"missing key {name!r}")


def _field_faults(
    document: Document, value: Any, kind: type[msgspec.Struct], field: msgspec.structs.FieldInfo, path: Path_
) -> Iterator[Fault]:
    outside: dict[str, dict[str, str]] = getattr(kind, "OUTSIDE_VALUES", {})
    reasons = outside.get(field.encode_name, {})
    reason = reasons.get(str(value)) if isinstance(value, str | bool) else None
    if reason is None and isinstance(value, str) and "*" in reasons:
        reason = reasons["*"] if list(_leaf_faults(document, value, field.type, path)) else None
    if reason is not None:
        yield document.locate(path, f"{shown(value)} is {OUTSIDE}: {reason}")
    elif value is None:
        yield document.locate(path, f"expected {_expected(field.type)}, got nothing")
    else:
        yield from _faults(document, value, field.type, path)


def _mapping_faults(document: Document, value: dict[str, Any], kinds: Any, path: Path_) -> Iterator[Fault]:
    key_kind, value_kind = kinds
    for key, item in value.items():
        for fault in _leaf_faults(document, key, key_kind, (*path, key)):
            yield document.locate((*path, key), fault.message, key=True)
        yield from _faults(document, item, value_kind, (*path, key))


def _leaf_faults(document: Document, value: Any, kind: Any, path: Path_) -> Iterator[Fault]:
    try:
        msgspec.convert(value, kind, strict=True)
    except msgspec.ValidationError:
        message = f"expected {_expected(kind)}, got {shown(value)}"
        near = [choice for choice in _choices(kind) if isinstance(value, str) and choice.lower() == value.lower()]
        yield document.locate(path, message + (f"; did you mean {near[0]!r}?" if near else ""))


_WORDS: Final = {str: "a string", int: "a whole number", float: "a number", bool: "true or false", dict: "a mapping"}


def _expected(kind: Any) -> str:
    """Say in words what a type wants."""
    origin, parts = get_origin(kind), get_args(kind)
    if origin is Annotated:
        described = [meta.description for meta in parts[1:] if isinstance(meta, msgspec.Meta) and meta.description]
        return described[0] if described else _expected(parts[0])
    if origin is Literal:
        return " or ".join(map(repr, parts))
    if origin in {Union, types.UnionType}:
        return " or ".join(_expected(part) for part in parts if part is not types.NoneType)
    if origin in {list, tuple}:
        return "a list"
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        return "a mapping"
    return _WORDS.get(origin or kind, str(kind))


def _choices(kind: Any) -> tuple[str, ...]:
    return tuple(map(str, get_args(kind))) if get_origin(kind) is Literal else ()
