"""Identifiers: UUIDv7, so that rows arrive in the order of their index (RFC 9562, section 5.7)."""

import secrets
import time
import uuid

from app.errors import InvalidRequest


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
