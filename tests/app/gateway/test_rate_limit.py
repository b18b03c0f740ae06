"""Token buckets in a real Valkey."""

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import pytest_asyncio
import redis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.config import RateLimit, Redis, Secret
from app.errors import TooManyRequests
from app.gateway.rate_limit import SCRIPT, TokenBuckets, address_key
from goshop import embedded
from telemetry.redis import TracedRedis

MICROSECONDS = 1_000_000


@pytest.fixture(scope="module")
def valkey(valkey_server: Any) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(valkey_server.url) as client:
        yield client


def clock(valkey: redis.Redis) -> int:
    """Return the server's time in microseconds."""
    seconds, microseconds = valkey.time()
    return int(seconds) * MICROSECONDS + int(microseconds)


@given(
    burst=st.floats(1, 50),
    rate=st.floats(0.1, 20_000),
    calls=st.integers(1, 200),
    buckets=st.integers(1, 3),
)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_nobody_gets_more_than_the_burst_and_what_flowed_in(
    valkey: redis.Redis, burst: float, rate: float, calls: int, buckets: int
) -> None:
    valkey.flushall()
    take = valkey.register_script(SCRIPT)
    began = clock(valkey)
    answers = [(n % buckets, take(keys=[f"b{n % buckets}"], args=[burst, rate])) for n in range(calls)]
    elapsed = (clock(valkey) - began) / MICROSECONDS
    for bucket in range(buckets):
        asked = [answer for number, answer in answers if number == bucket]
        taken = sum(answer[0] for answer in asked)
        assert min(len(asked), int(burst)) <= taken <= burst + rate * elapsed + 1e-6
        assert all(0 <= left <= burst for _, left, _ in asked)


@given(tokens=st.floats(0, 10), age=st.integers(0, 3 * MICROSECONDS), rate=st.floats(0.01, 1_000))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_fractions_flow_in_with_the_servers_clock(valkey: redis.Redis, tokens: float, age: int, rate: float) -> None:
    before = clock(valkey)
    valkey.hset("bucket", mapping={"tokens": repr(tokens), "at": str(before - age)})
    taken, left, wait = valkey.register_script(SCRIPT)(keys=["bucket"], args=[10, rate])
    late = clock(valkey) - before
    least = min(10.0, tokens + age * rate / MICROSECONDS)
    most = min(10.0, least + late * rate / MICROSECONDS)
    rest = float(valkey.hget("bucket", "tokens") or 0) + taken
    assert least - 1e-6 <= rest <= most + 1e-6
    assert taken == (rest >= 1)
    # After the announced wait there is a token, and there was none much sooner.
    assert left >= 1 or rest - taken + wait * rate / MICROSECONDS >= 1 - 1e-6
    assert wait <= MICROSECONDS / rate + 1


def test_a_clock_that_was_set_back_gives_nothing(valkey: redis.Redis) -> None:
    valkey.hset("back", mapping={"tokens": "0", "at": str(clock(valkey) + 60 * MICROSECONDS)})
    assert valkey.register_script(SCRIPT)(keys=["back"], args=[10, 1_000])[0] == 0


def test_a_bucket_is_forgotten_when_it_would_be_full(valkey: redis.Redis) -> None:
    valkey.delete("full")
    valkey.register_script(SCRIPT)(keys=["full"], args=[10, 2])
    # One token of two a second is missing: half a second, and the second that rounding may take.
    assert 500 < int(valkey.pttl("full")) <= 1_500


@pytest_asyncio.fixture
async def client(valkey_server: Any) -> Any:
    valkey_server.flush()
    async with TracedRedis.from_url(valkey_server.url) as one:
        yield one


async def test_a_refusal_says_when_to_come_back(client: TracedRedis) -> None:
    buckets = TokenBuckets(RateLimit(burst=2, per_second=0.1), client)
    assert [(await buckets.take("k")).left for _ in range(2)] == [1, 0]  # type: ignore[union-attr]
    with pytest.raises(TooManyRequests) as refused:
        await buckets.take("k")
    assert refused.value.retry_after == pytest.approx(10.0, abs=1.0)
    assert await buckets.take("another key") is not None


async def test_a_server_that_has_forgotten_the_script_is_told_again(client: TracedRedis) -> None:
    buckets = TokenBuckets(RateLimit(burst=5, per_second=0.001), client)
    await buckets.take("k")
    await client.script_flush()
    assert (await buckets.take("k")).left == 3  # type: ignore[union-attr]


async def test_concurrent_requests_share_a_bucket(client: TracedRedis) -> None:
    buckets = TokenBuckets(RateLimit(burst=10, per_second=0.001), client)
    answers = await asyncio.gather(*(buckets.take("k") for _ in range(40)), return_exceptions=True)
    assert sum(isinstance(a, TooManyRequests) for a in answers) == 30


@pytest.mark.parametrize(
    ("address", "key"),
    [
        ("10.0.0.1", "address:10.0.0.1"),
        ("2001:db8:1:2:3::4", "address:2001:db8:1:2::/64"),
        ("::ffff:10.0.0.1", "address:10.0.0.1"),
        ("fe80::1%eth0", "address:fe80::/64"),
        ("", "address:"),
    ],
)
def test_an_address_names_its_bucket(address: str, key: str) -> None:
    assert address_key(address) == key


async def test_the_edge_refuses_with_the_headers_that_say_when(
    make_settings: Callable[..., Any], running_edge: Any
) -> None:
    async with running_edge(make_settings(rate_limit=RateLimit(burst=3, per_second=0.05))) as edge:
        answers = [await edge.call("GET", "/api/products", headers={"x-forwarded-for": f"1.1.1.{n}"}) for n in range(4)]
        assert [a.status_code for a in answers] == [200, 200, 200, 429]
        assert answers[0].headers["ratelimit"].startswith('"bucket";r=2;')
        assert answers[0].headers["ratelimit-policy"] == '"bucket";q=3;w=60'
        assert 1 <= int(answers[3].headers["retry-after"]) <= 20
        assert answers[3].json()["code"] == "too_many_requests"


async def test_guessing_tokens_empties_the_guessers_bucket(
    make_settings: Callable[..., Any], running_edge: Any
) -> None:
    async with running_edge(make_settings(rate_limit=RateLimit(burst=3, per_second=0.05))) as edge:
        answers = [await edge.call("GET", "/api/products", token="a.b.c") for _ in range(4)]
        assert [a.status_code for a in answers] == [401, 401, 401, 429]


@pytest.mark.parametrize(("answer", "status"), [("deny", 503), ("allow", 200)])
async def test_without_a_store_the_settings_decide(
    make_settings: Callable[..., Any], running_edge: Any, answer: Any, status: int
) -> None:
    away = Redis(url=Secret("redis://127.0.0.1:1/0"))
    async with running_edge(make_settings(redis=away, rate_limit=RateLimit(when_unavailable=answer))) as edge:
        said = await edge.call("GET", "/api/products")
        assert said.status_code == status
        if status != 200:
            assert (said.json()["code"], said.headers["retry-after"]) == ("unavailable", "1")


async def test_a_store_that_comes_back_is_used_again(
    make_settings: Callable[..., Any], running_edge: Any, tmp_path_factory: pytest.TempPathFactory
) -> None:
    with embedded.valkey(tmp_path_factory.mktemp("valkey")) as server:
        await check_that_it_is_used_again(server, make_settings, running_edge)


async def check_that_it_is_used_again(server: Any, make_settings: Callable[..., Any], running_edge: Any) -> None:
    store = Redis(url=Secret(server.url))
    async with running_edge(make_settings(redis=store, rate_limit=RateLimit(burst=50, per_second=1))) as edge:
        assert (await edge.call("GET", "/api/products")).status_code == 200
        server.kill()
        try:
            assert (await edge.call("GET", "/api/products")).status_code == 503
        finally:
            server.start()
        assert (await edge.call("GET", "/api/products")).status_code == 200
