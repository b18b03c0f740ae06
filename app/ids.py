"""Identifiers: UUIDv7, so that rows arrive in the order of their index (RFC 9562, section 5.7); keys that clients choose."""

import re
import secrets
import time
import uuid
from typing import Final

from app.errors import InvalidRequest

# Printable ASCII (draft-ietf-httpapi-idempotency-key-header), short enough for an index.
_IDEMPOTENCY_KEY: Final = re.compile(r"[!-~]{0,255}")


def new_id() -> str:
    """Make a UUIDv7: 48 bits of Unix milliseconds, then 74 random bits."""
    bits = (time.time_ns() // 1_000_000 << 80) | secrets.randbits(80)
    bits = bits & ~(0xF << 76) | 7 << 76
    bits = bits & ~(0x3 << 62) | 2 << 62
    return str(uuid.UUID(int=bits))


def parse_id(text: str, name: str = "id") -> str:
    """Return the canonical form of a UUID, or raise `InvalidRequest` that names the field."""
    try:
        return str(uuid.UUID(text))
    except ValueError:
        raise InvalidRequest(f"{name}: not a UUID", field=name) from None


def parse_idempotency_key(text: str) -> str:
    """Return a client's idempotency key, "" for none, or raise `InvalidRequest`."""
    if not _IDEMPOTENCY_KEY.fullmatch(text):
        raise InvalidRequest(
            "idempotency_key: up to 255 printable ASCII characters without spaces", field="idempotency_key"
        )
    return text
