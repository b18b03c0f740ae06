"""Protobuf's wire format, and OTLP's attributes in it; written by hand, with what comes up again and again kept encoded.

Source: https://protobuf.dev/programming-guides/encoding/,
https://github.com/open-telemetry/opentelemetry-proto/blob/v1.9.0/opentelemetry/proto/common/v1/common.proto
"""

import logging
from collections.abc import Mapping, Sequence
from functools import cache
from struct import Struct
from typing import Any, Final

logger = logging.getLogger(__name__)

# Enough for the label-like values of a service; what is unique to a request passes through and is let go.
CACHED: Final = 4_096
# Encoded bytes; longer ones are rather texts than labels. Bounds a cache to 2 MB with its keys' share.
LONGEST_CACHED: Final = 256

_INT64_MIN: Final = -(2**63)
_INT64_MAX: Final = 2**63 - 1
_UINT64: Final = 2**64 - 1
_DOUBLE: Final = Struct("<d")


def varint(number: int) -> bytes:
    """Return a number in base 128, least significant group first; negative ones as 64-bit two's complement."""
    number &= _UINT64
    groups = bytearray()
    while number > 0x7F:  # noqa: PLR2004 - seven bits
        groups.append(number & 0x7F | 0x80)
        number >>= 7
    groups.append(number)
    return bytes(groups)


class Numbers(dict[int, bytes]):
    """The varints behind a tag, for the numbers that come up again and again: lengths."""

    def __init__(self, tag: bytes) -> None:
        super().__init__()
        self._tag = tag

    def __missing__(self, number: int) -> bytes:
        encoded = self._tag + varint(number)
        if number < CACHED:
            self[number] = encoded
        return encoded


@cache
def _tag(field: int) -> bytes:
    """Return the tag of a length-delimited field (wire type 2)."""
    return varint(field << 3 | 2)


_lengths: Final = Numbers(b"")


def length_delimited(field: int, body: bytes) -> bytes:
    """Return a string, bytes or message field."""
    return _tag(field) + _lengths[len(body)] + body


def text(field: int, value: str) -> bytes:
    """Return a string field, absent when empty; a lone surrogate becomes a question mark."""
    return length_delimited(field, value.encode("utf-8", "replace")) if value else b""


def count(field: int, number: int) -> bytes:
    """Return an unsigned number's field, absent when 0."""
    return varint(field << 3) + varint(number) if number else b""


# --- attributes -------------------------------------------------------------------------------------------------------


def attribute(field: int, key: str, value: Any) -> bytes:
    """Return a KeyValue as field `field`.

    What protobuf cannot carry (an integer beyond 64 bits, a lone surrogate, a type of somebody's own) is left out and
    reported, as by the official encoder: the result is empty then.
    """
    try:
        return _key_value(field, key, value)
    except (TypeError, ValueError, AttributeError, RecursionError) as error:
        # Not the value: it may be a secret.
        logger.warning("an attribute cannot be encoded and is left out: %r of type %s: %s", key, type(value), error)
        return b""


def _key_value(field: int, key: str, value: Any) -> bytes:
    name, encoded = key.encode(), any_value(value)
    body = b"\x0a%b%b\x12%b%b" % (_lengths[len(name)], name, _lengths[len(encoded)], encoded)
    return _tag(field) + _lengths[len(body)] + body


def any_value(value: Any) -> bytes:
    """Return the content of an AnyValue; raises `TypeError` or `ValueError` for what it cannot hold."""
    if value is None:
        return b""
    if isinstance(value, str):
        return length_delimited(1, value.encode())
    if isinstance(value, bool):
        return b"\x10\x01" if value else b"\x10\x00"
    if isinstance(value, int):
        # A plain one: an enumeration's (HTTPStatus) compares and shifts by code of its own.
        return b"\x18" + _int64(int(value))
    if isinstance(value, float):
        return b"\x21" + _DOUBLE.pack(value)
    return _composite(value)


def _int64(value: int) -> bytes:
    if not _INT64_MIN <= value <= _INT64_MAX:
        raise ValueError(f"{value.bit_length()} bits do not fit into 64")
    return varint(value)


def _composite(value: Any) -> bytes:
    if isinstance(value, bytes):
        return length_delimited(7, value)
    if isinstance(value, Sequence):
        return length_delimited(5, b"".join(length_delimited(1, any_value(item)) for item in value))
    if isinstance(value, Mapping):
        return length_delimited(6, b"".join(_key_value(1, str(key), item) for key, item in value.items()))
    raise TypeError("no type of OTLP's")


_Item = tuple[str, Any]


class _Fresh:
    """Encodes an attribute each time it is asked for."""

    __slots__ = ("_field",)

    def __init__(self, field: int) -> None:
        self._field = field

    def __getitem__(self, item: _Item) -> bytes:
        return attribute(self._field, *item)


class _Cached(dict[_Item, bytes]):
    """Encodes an attribute the first time it is asked for; for values of one type, as 1 == True == 1.0."""

    def __init__(self, field: int) -> None:
        super().__init__()
        self._field = field

    def __missing__(self, item: _Item) -> bytes:
        encoded = attribute(self._field, *item)
        if 0 < len(encoded) <= LONGEST_CACHED:
            if len(self) >= CACHED:
                self.clear()
            self[item] = encoded
        return encoded


class Attributes(dict[type, "_Cached | _Fresh"]):
    """Encodes the attributes that a kind of field has; text, integers and booleans are encoded once and kept.

    Other types are encoded anew: equal ones may differ in what they hold (0.0 and -0.0, (1,) and (True,)).
    """

    def __init__(self, field: int) -> None:
        super().__init__({str: _Cached(field), int: _Cached(field), bool: _Cached(field)})
        self._fresh = _Fresh(field)

    def __missing__(self, kind: type) -> _Fresh:
        return self._fresh

    def __call__(self, attributes: Mapping[str, Any]) -> bytes:
        """Return the attributes as fields."""
        return b"".join([self[item[1].__class__][item] for item in attributes.items()])


class TextAttribute:
    """An attribute whose text is different each time (`url.path`): no value is kept, only what stands before it."""

    __slots__ = ("_field", "_heads", "_key")

    def __init__(self, field: int, key: str) -> None:
        self._field = field
        self._key = length_delimited(1, key.encode())
        self._heads: dict[int, bytes] = {}

    def __call__(self, value: str) -> bytes:
        """Return the attribute as a field; a lone surrogate becomes a question mark."""
        encoded = value.encode("utf-8", "replace")
        return (self._heads.get(len(encoded)) or self._head(len(encoded))) + encoded

    def _head(self, length: int) -> bytes:
        string = b"\x0a" + varint(length)
        any_length = len(string) + length
        value = b"\x12" + varint(any_length) + string
        head = _tag(self._field) + varint(len(self._key) + len(value) + length) + self._key + value
        if length < CACHED:
            self._heads[length] = head
        return head
