"""Addresses as people name them on a command line, checked before anybody is asked."""

from typing import Final
from urllib.parse import SplitResult, urlsplit

import httpx

from goshop.measurement import WrongRequest, tell
from loadtests.seed import is_loopback

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
        raise WrongRequest(f"{option} holds credentials, and is shown in messages and reports: {instead}")
    if address is None or address.query or address.fragment:
        got = "one with an @ in it" if "@" in url else repr(url)
        raise WrongRequest(f"expected an address such as {example} for {option}, got {got}")


def tell_unencrypted(url: str, secrets: str) -> None:
    """Say aloud that secrets ("the credentials of ...") cross a network as they are, where the address is such a one.

    It is not refused: a mesh of services, or a tunnel, encrypts what is plain http to us.
    """
    if urlsplit(url).scheme == "http" and not is_loopback(url):
        tell(
            f"{secrets} go to {url} unencrypted: whoever is on the way can read them, and use them; "
            "name an address with https://"
        )
