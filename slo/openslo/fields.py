"""What single values of a document must be; each `description` is what messages and editors say was expected."""

from decimal import Decimal
from typing import Annotated, TypeVar

from msgspec import Meta

# RFC 1123, as OpenSLO asks for; the (?!\n) because `$` alone also matches before a line's end.
Name = Annotated[
    str,
    Meta(
        pattern=r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(?!\n)$",
        description="a name of lower-case letters, digits and '-', at most 63 characters",
    ),
]
Description = Annotated[str, Meta(max_length=1050, description="a string of at most 1050 characters")]
Duration = Annotated[
    str,
    Meta(
        pattern=r"^[0-9]{1,4}[mhdw](?!\n)$",
        description="a duration such as '5m', '1h', '3d' or '4w' (months have no fixed length)",
    ),
]
LabelName = Annotated[
    str,
    Meta(
        pattern=r"^[a-zA-Z_][a-zA-Z0-9_]{0,62}(?!\n)$",
        description="the name of a Prometheus label (letters, digits and '_')",
    ),
]
LabelValue = Annotated[
    str, Meta(max_length=253, description="one string of at most 253 characters (a Prometheus label has no list)")
]
Link = Annotated[
    str,
    Meta(
        pattern=r"^(https?://|/(?!/))\S+(?!\n)$",
        description="a link: 'https://...', or '/...' from the root of its site",
    ),
]
Endpoint = Annotated[
    str, Meta(pattern=r"^[A-Z]+ /\S*(?!\n)$", description="method and route such as 'GET /api/products/{id}'")
]
Milliseconds = Annotated[
    str, Meta(pattern=r"^[0-9]{1,7}(\.[0-9]{1,3})? (ms|s)(?!\n)$", description="a time such as '800 ms' or '1.5 s'")
]
Rate = Annotated[
    str,
    Meta(
        pattern=r"^(>=|>) [0-9]{1,9}(\.[0-9]{1,3})? requests/s(?!\n)$",
        description="a target such as '> 100 requests/s'",
    ),
]
Text = Annotated[str, Meta(min_length=1, max_length=1050, description="a string of 1 to 1050 characters")]
# A control character in a name of a file is a mistake, or worse; \x00 ends the name for the system.
Script = Annotated[
    str,
    Meta(
        pattern=r"^[^\x00-\x1f\x7f]{1,1050}(?!\n)$",
        description="the path of a script, from this file on: 1 to 1050 characters",
    ),
]
T = TypeVar("T")
One = Annotated[tuple[T, ...], Meta(min_length=1, max_length=1, description="a list of exactly one")]


def exact(number: float) -> Decimal:
    """Return the number that was written: 0.999 and not the nearest binary fraction, 6 and not 6.0."""
    written = Decimal(repr(number))
    return Decimal(int(written)) if written == int(written) else written
