"""Addresses as people name them on a command line, checked before anybody is asked."""

from typing import Final
from urllib.parse import SplitResult, urlsplit

import httpx

from goshop.measurement import WrongRequest

_SCHEMES: Final = frozenset({"http", "https"})


def parts_of(url: str) -> SplitResult | None:
    """Return the parts of an address such as https://shop.example.org; None for what is none.

    That is: another scheme, no host, a port beyond 65535, half of an IPv6 address, blanks or control characters, which
    urllib takes out without a word and which a report must not repeat.
    """
    try:
        address = urlsplit(url)
        # Only looked at when it is asked for.
        port = address.port
        httpx.URL(url)
    except (ValueError, httpx.InvalidURL):
        return None
    whole = url.isprintable() and " " not in url and address.scheme in _SCHEMES
    return address if whole and address.hostname and port != 0 else None


def require_address(url: str, option: str, *, example: str, instead: str) -> None:
    """Make sure that what an option names is an address such as the `example`, and holds no credentials.

    Raises `WrongRequest`, which says what to do `instead` of giving credentials.
    """
    address = parts_of(url)
    # What may hold a secret is not repeated: this line is in a log, and the address would be in every report.
    if address and "@" in address.netloc:
        raise WrongRequest(f"{option} holds credentials, and is shown in every report: {instead}")
    if address is None or address.query or address.fragment:
        got = "one with an @ in it" if "@" in url else repr(url)
        raise WrongRequest(f"expected an address such as {example} for {option}, got {got}")
