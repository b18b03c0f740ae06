"""Points in time as text."""

from datetime import UTC, datetime


def rfc3339(moment: datetime) -> str:
    """Return an aware moment in UTC with a Z (RFC 3339)."""
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")
