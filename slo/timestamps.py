"""Moments as the reports write them (RFC 3339, in UTC)."""

from datetime import UTC, datetime


def rfc3339(seconds: float, timespec: str = "milliseconds") -> str:
    """Return a moment in unix s as text; `timespec` is `datetime.isoformat`'s."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec=timespec).replace("+00:00", "Z")
