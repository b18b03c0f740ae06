"""Behind a proxy: whose address is limited and logged, and who is believed about it."""

from collections.abc import Callable
from ipaddress import ip_network
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.config import Http, Network, RateLimit
from app.gateway.client_address import HOPS, ClientAddress, client_address, read_node
from telemetry import conventions as c
from telemetry.testing import capture_spans

LOOPBACK = (Network("127.0.0.0/8"), Network("::1/128"))
TRUSTED = (*LOOPBACK, Network("10.0.0.0/8"), Network("fd00::/8"))


async def seen(headers: list[tuple[bytes, bytes]], *, peer: str = "127.0.0.1", **settings: Any) -> str:
    """Return the client's address as the application behind the layer sees it."""
    found: list[str] = []

    async def application(scope: Any, _receive: Any, _send: Any) -> None:
        found.append(scope["client"][0])

    layer = ClientAddress(application, Http(**{"trusted_proxies": TRUSTED, **settings}))
    await layer({"type": "http", "client": (peer, 1), "headers": headers}, None, None)  # type: ignore[typeddict-item,arg-type]
    return found[0]


async def forwarded_for(value: str, **options: Any) -> str:
    return await seen([(b"x-forwarded-for", value.encode("latin-1"))], **options)


async def forwarded(value: str, **options: Any) -> str:
    return await seen([(b"forwarded", value.encode("latin-1"))], proxy_header="forwarded", **options)


@pytest.mark.parametrize(
    ("value", "address"),
    [
        ("1.2.3.4", "1.2.3.4"),
        ("6.6.6.6, 1.2.3.4", "1.2.3.4"),
        ("6.6.6.6, 1.2.3.4, 10.0.0.9,10.1.2.3", "1.2.3.4"),
        ("10.0.0.7, 10.0.0.9", "10.0.0.7"),
        ("2001:db8::7", "2001:db8::7"),
        ("1.2.3.4:5678", "1.2.3.4"),
        ("[2001:db8::7]:5678", "2001:db8::7"),
        ("::ffff:1.2.3.4", "1.2.3.4"),
        ("\t1.2.3.4 ", "1.2.3.4"),
    ],
)
async def test_the_right_most_stranger_is_the_client(value: str, address: str) -> None:
    assert await forwarded_for(value) == address


@pytest.mark.parametrize(
    ("value", "address"),
    [
        ("for=1.2.3.4", "1.2.3.4"),
        ('for=6.6.6.6, For="1.2.3.4:99";proto=https;by=10.0.0.1', "1.2.3.4"),
        ('proto=https;for="[2001:db8::7]:99", for=10.0.0.9', "2001:db8::7"),
        ('for=1.2.3.4;host="a;for=6.6.6.6"', "1.2.3.4"),
    ],
)
async def test_the_standard_header_is_read_where_the_settings_name_it(value: str, address: str) -> None:
    assert await forwarded(value) == address


@pytest.mark.parametrize(
    "value",
    [
        *("", ",", "unknown", "_hidden", "localhost", "1.2.3", "1.2.3.4.5", "999.1.1.1", "1.2.3.4:", "1.2.3.4:x"),
        *("1.2.3.4:999999", "fe80::1%eth0", "[fe80::1%25eth0]:80", "[2001:db8::7", "2001:db8::7]", "[1.2.3.4]"),
        *("1.2.3.4\x00", "\u0661.2.3.4".encode().decode("latin-1"), '"1.2.3.4"', "for=1.2.3.4", "1.2.3.4 5.6.7.8"),
    ],
)
async def test_what_is_no_address_is_ignored_with_everything_left_of_it(value: str) -> None:
    assert await forwarded_for(f"6.6.6.6, {value}") == "127.0.0.1"
    assert await forwarded_for(f"6.6.6.6, {value}, 10.0.0.9") == "10.0.0.9"


@pytest.mark.parametrize(
    "value",
    [
        *("", "1.2.3.4", "for=", "for=unknown", "for=_hidden", "for=1.2.3.4;", "for=1.2.3.4;for=6.6.6.6", "for"),
        *('for="1.2.3.4', 'for=10.0.0.1;host="a, for=6.6.6.6"', 'for=10.0.0.1;host="a,for=6.6.6.6;x=\\""'),
        *("for=[2001:db8::7]", 'for="2001:db8::7]"', 'for="\\1.2.3.4"', "for = 1.2.3.4"),
    ],
)
async def test_what_the_standard_does_not_allow_is_ignored(value: str) -> None:
    assert await forwarded(f"for=6.6.6.6, {value}") == "127.0.0.1"


async def test_a_header_that_the_proxy_does_not_write_is_not_read() -> None:
    both = [(b"forwarded", b"for=6.6.6.6"), (b"x-forwarded-for", b"1.2.3.4")]
    assert await seen(both) == "1.2.3.4"
    assert await seen(both, proxy_header="forwarded") == "6.6.6.6"
    assert await seen(both[:1]) == "127.0.0.1"


async def test_several_header_lines_are_one_list() -> None:
    assert await seen([(b"x-forwarded-for", b"6.6.6.6"), (b"x-forwarded-for", b"1.2.3.4, 10.0.0.9")]) == "1.2.3.4"


async def test_a_stranger_is_not_believed() -> None:
    assert await forwarded_for("1.2.3.4", peer="8.8.8.8") == "8.8.8.8"
    assert await forwarded_for("1.2.3.4", trusted_proxies=()) == "127.0.0.1"


async def test_a_proxy_that_connects_over_ipv6_is_known_by_either_address() -> None:
    assert await forwarded_for("1.2.3.4", peer="::ffff:10.0.0.1") == "1.2.3.4"
    assert await forwarded_for("1.2.3.4", peer="fd00::1") == "1.2.3.4"


async def test_a_chain_longer_than_any_real_one_is_not_followed() -> None:
    assert await forwarded_for("1.2.3.4" + ", 10.0.0.9" * HOPS) == "10.0.0.9"
    assert await forwarded_for(",".join(["6.6.6.6"] * 10_000) + ", 1.2.3.4") == "1.2.3.4"


@given(st.text(alphabet="0123456789abcdef.:,;[]%\"'=for \\", max_size=60))
def test_whatever_a_client_writes_the_address_that_the_proxy_appended_wins(text: str) -> None:
    networks = tuple(ip_network(network) for network in TRUSTED)
    hops = map(read_node, reversed([part.strip() for part in f"{text}, 1.2.3.4".split(",")]))
    assert client_address("127.0.0.1", hops, networks) == "1.2.3.4"


async def test_callers_behind_a_trusted_proxy_have_buckets_of_their_own(
    make_settings: Callable[..., Any], running_edge: Any
) -> None:
    http = Http(trusted_proxies=LOOPBACK)
    async with running_edge(make_settings(http=http, rate_limit=RateLimit(burst=2, per_second=0.01))) as edge:

        async def ask(*hops: str) -> int:
            answer = await edge.call("GET", "/api/products", headers={"x-forwarded-for": ", ".join(hops)})
            status: int = answer.status_code
            return status

        assert [await ask("1.1.1.1") for _ in range(3)] == [200, 200, 429]
        # Whatever the client itself had written.
        assert [await ask(f"9.9.9.{n}", "1.1.1.1") for n in range(2)] == [429, 429]
        assert [await ask("1.1.1.2") for _ in range(2)] == [200, 200]


async def test_the_access_line_and_the_span_name_the_client_and_not_the_proxy(
    make_settings: Callable[..., Any], running_edge: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    async with running_edge(make_settings(http=Http(trusted_proxies=LOOPBACK))) as edge:
        with capture_spans() as spans:
            answer = await edge.call("GET", "/nowhere", headers={"x-forwarded-for": "1.1.1.1"})
    trace_id = answer.headers["x-trace-id"]
    assert [s.attributes[c.CLIENT_ADDRESS] for s in spans if s.trace_id == trace_id] == ["1.1.1.1"]
    (line,) = [text for text in capsys.readouterr().out.splitlines() if trace_id in text]
    assert f'"{c.LOG_CLIENT}":"1.1.1.1"' in line
