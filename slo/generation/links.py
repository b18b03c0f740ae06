"""Links as they can stand anywhere: in Markdown, in a table, in a message of an alert."""

from typing import Final
from urllib.parse import quote

# What has a meaning in an address and none in Markdown or its tables (https://www.rfc-editor.org/rfc/rfc3986#section-2.2).
# Per cent is left alone: whoever wrote it has encoded something.
_LEFT: Final = "%/:?#@!$&'*+,;=~"


def encoded(link: str) -> str:
    """Return a link with everything per cent-encoded that could end it or mean something else around it."""
    return quote(link, safe=_LEFT)
