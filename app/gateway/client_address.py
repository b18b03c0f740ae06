"""The client's address behind trusted proxies: the right-most hop that is not a proxy of ours.

Each proxy appends whom it heard from, so only the right end of the list was written by somebody we trust; everything to the
left of the first stranger is that stranger's own story. Sources: RFC 7239 (Forwarded), and for X-Forwarded-For
https://developer.mozilla.org/en-US/docs/Web/HTTP/Reference/Headers/X-Forwarded-For#selecting_an_ip_address
"""

import re
from collections.abc import Callable, Iterable, Iterator
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final

from litestar.enums import ScopeType
from litestar.types import ASGIApp, Receive, Scope, Send

from app.config import Http

# No chain of proxies is longer; what stands further left is not even looked at.
HOPS: Final = 16
_PORT: Final = re.compile(r":[0-9]{1,5}")
_PAIR: Final = re.compile(r"([!#$%&'*+.^_`|~0-9A-Za-z-]+)=(?:([!#$%&'*+.^_`|~0-9A-Za-z-]+)|\"((?:[^\"\\]|\\.)*)\")")
# One element of the list (RFC 7239, section 4). What was split at a comma inside of quotes does not match any more.
_ELEMENT: Final = re.compile(rf"{_PAIR.pattern}(?:;{_PAIR.pattern})*")

Address = IPv4Address | IPv6Address
Networks = tuple[IPv4Network | IPv6Network, ...]


class ClientAddress:
    """Puts the client's own address into the scope where a trusted proxy connects; whoever logs or limits finds it there."""

    def __init__(self, app: ASGIApp, settings: Http) -> None:
        self._app = app
        self._trusted: Networks = tuple(ip_network(network) for network in settings.trusted_proxies)
        self._header = settings.proxy_header.encode()
        self._read = _READERS[settings.proxy_header]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve."""
        if self._trusted and scope["type"] == ScopeType.HTTP and (client := scope["client"]):
            named = client_address(client[0], self._hops(scope["headers"]), self._trusted)
            if named != client[0]:
                # The port that the client connected from is not known.
                scope["client"] = (named, 0)
        await self._app(scope, receive, send)

    def _hops(self, headers: Iterable[tuple[bytes, bytes]]) -> Iterator[Address | None]:
        # Several lines are one list in their order (RFC 9110, section 5.3).
        values = [value.decode("latin-1") for name, value in headers if name == self._header]
        listed = ",".join(values).rsplit(",", HOPS)[-HOPS:] if values else []
        return map(self._read, reversed(listed))


def client_address(peer: str, hops: Iterable[Address | None], trusted: Networks) -> str:
    """Return who is behind `peer`: the first of `hops`, nearest first, that is not trusted.

    A hop that says nothing readable (None) ends the search: the last address that a trusted one vouched for stays.
    """
    address = read_address(peer)
    if address is None or not _within(address, trusted):
        return peer
    for hop in hops:
        if hop is None:
            break
        address = hop
        if not _within(address, trusted):
            break
    return str(address)


def read_address(text: str) -> Address | None:
    """Read an address, None for anything else; an IPv4 address in IPv6's clothes is one, a zone means nothing here."""
    try:
        address = ip_address(text)
    except ValueError:
        return None
    if isinstance(address, IPv4Address):
        return address
    return None if address.scope_id is not None else address.ipv4_mapped or address


def _within(address: Address, networks: Networks) -> bool:
    return any(address in network for network in networks)


def read_node(text: str) -> Address | None:
    """Read an address that may carry a port, an IPv6 address then in brackets (RFC 7239, section 6)."""
    host, bracket, rest = text.partition("]")
    if host.startswith("["):
        ends = bracket and (not rest or _PORT.fullmatch(rest))
        return read_address(host[1:]) if ends and ":" in host else None
    if text.count(":") == 1:
        host, _, rest = text.partition(":")
        return read_address(host) if _PORT.fullmatch(f":{rest}") else None
    return read_address(text)


def _forwarded_for(element: str) -> Address | None:
    return read_node(element.strip(" \t"))


def _forwarded(element: str) -> Address | None:
    element = element.strip(" \t")
    if not _ELEMENT.fullmatch(element):
        return None
    nodes = [pair[2] or pair[3] for pair in _PAIR.finditer(element) if pair[1].lower() == "for"]
    return read_node(nodes[0]) if len(nodes) == 1 else None


_READERS: Final[dict[str, Callable[[str], Address | None]]] = {
    "x-forwarded-for": _forwarded_for,
    "forwarded": _forwarded,
}
