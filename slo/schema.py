"""Checks a strictly read document against msgspec Structs and reports every fault at its place.

msgspec itself stops at the first fault and names unknown keys without their position; here the Structs' fields are
walked, so that one run shows all there is to mend.
"""

import difflib
import types
from collections.abc import Iterator
from typing import Annotated, Any, TypeVar, Union, get_args, get_origin

import msgspec

from slo.strict_yaml import Document, Path_, StrictYamlError

S = TypeVar("S", bound=msgspec.Struct)


def check(document: Document, kind: type[S]) -> S:
    """Return the document as a `kind`; raises `StrictYamlError` with every fault."""
    if faults := list(_faults(document, document.value, kind, ())):
        raise StrictYamlError(faults)
    return msgspec.convert(document.value, kind, strict=True)


def _faults(document: Document, value: Any, kind: Any, path: Path_) -> Iterator[str]:
    kind = _without_none(kind, value)
    if get_origin(kind) is Annotated:
        # First what is inside, each fault at its own place; then the constraints on the whole.
        inner = list(_faults(document, value, get_args(kind)[0], path))
        yield from inner or _leaf_faults(document, value, kind, path)
    elif isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        yield from _struct_faults(document, value, kind, path)
    elif get_origin(kind) in {list, tuple} and isinstance(value, list):
        for index, item in enumerate(value):
            yield from _faults(document, item, get_args(kind)[0], (*path, index))
    else:
        yield from _leaf_faults(document, value, kind, path)


def _without_none(kind: Any, value: Any) -> Any:
    """Strip `| None` where the value is not None, so that a Struct behind it is walked."""
    if value is None or get_origin(kind) not in {Union, types.UnionType}:
        return kind
    rest = [part for part in get_args(kind) if part is not types.NoneType]
    return rest[0] if len(rest) == 1 else kind


def _struct_faults(document: Document, value: Any, kind: type[msgspec.Struct], path: Path_) -> Iterator[str]:
    if not isinstance(value, dict):
        yield document.locate(path, f"expected a mapping, got {_said(value)}")
        return
    fields = {field.encode_name: field for field in msgspec.structs.fields(kind)}
    for key in value:
        if key not in fields:
            yield document.locate((*path, key), f"unknown key {key!r}{_suggestion(key, list(fields))}", key=True)
    for name, field in fields.items():
        if name in value:
            yield from _faults(document, value[name], field.type, (*path, name))
        elif field.required:
            yield document.locate(path, f"missing key {name!r}")


def _suggestion(key: str, known: list[str]) -> str:
    close = difflib.get_close_matches(key, known, 1)
    return f"; did you mean {close[0]!r}?" if close else f"; known are {', '.join(known)}"


def _leaf_faults(document: Document, value: Any, kind: Any, path: Path_) -> Iterator[str]:
    try:
        msgspec.convert(value, kind, strict=True)
    except msgspec.ValidationError as error:
        # "Expected `str`, got `int`": the position says the rest of it.
        message = str(error).split(" - at ")[0].replace("`", "")
        yield document.locate(path, f"{message[0].lower()}{message[1:]}{_shown(value)}")


def _shown(value: Any) -> str:
    return "" if isinstance(value, dict | list) or value is None else f" ({value!r})"


def _said(value: Any) -> str:
    names = {list: "a list", type(None): "nothing"}
    return names.get(type(value), repr(value))
