"""Guessing passwords: how many guesses an account takes, who is kept out by it, and who is not."""

import asyncio
from collections.abc import Callable
from typing import Any

import httpx
import pytest
import pytest_asyncio

from app.config import Http, LoginLimit, Network, RateLimit, Redis, Secret
from app.errors import TooManyRequests, Unauthenticated, Unavailable
from app.gateway.login_throttle import LoginThrottle, account_key, place_key
from telemetry.redis import TracedRedis

WRONG = "a wrong password"
LIMIT = RateLimit(burst=1_000, per_second=1_000, login=LoginLimit(burst=3, per_second=0.05))


@pytest_asyncio.fixture
async def client(valkey_url: str) -> Any:
    async with TracedRedis.from_url(valkey_url) as one:
        yield one


def answer(*, right: bool) -> None:
    """Be the user service."""
    if not right:
        raise Unauthenticated("wrong")


async def guess(throttle: LoginThrottle, account: str, address: str = "1.1.1.1", *, right: bool = False) -> str:
    """Try to log in; return what came of it."""
    try:
        async with throttle.attempt(account, address):
            answer(right=right)
    except (Unauthenticated, TooManyRequests) as error:
        return error.code
    return "in"


async def test_guesses_are_bounded_by_account_and_not_by_where_they_come_from(client: TracedRedis) -> None:
    throttle = LoginThrottle(LIMIT, client)
    said = [await guess(throttle, "a@test.com", f"1.1.1.{n}") for n in range(5)]
    assert said == ["unauthenticated"] * 3 + ["too_many_requests"] * 2
    assert await guess(throttle, "b@test.com") == "unauthenticated"


async def test_letter_case_gives_no_further_guesses(client: TracedRedis) -> None:
    throttle = LoginThrottle(LIMIT, client)
    said = [await guess(throttle, account) for account in ("a@test.com", "A@test.com", "a@TEST.com", "A@Test.Com")]
    assert said[-1] == "too_many_requests"


async def test_guesses_side_by_side_do_not_get_past_the_bound(client: TracedRedis) -> None:
    throttle = LoginThrottle(LIMIT, client)
    said = await asyncio.gather(*(guess(throttle, "a@test.com") for _ in range(20)))
    assert said.count("unauthenticated") == 3


async def test_a_login_that_succeeds_costs_nothing(client: TracedRedis) -> None:
    throttle = LoginThrottle(LIMIT, client)
    assert [await guess(throttle, "a@test.com", right=True) for _ in range(10)] == ["in"] * 10
    assert [await guess(throttle, "a@test.com", "2.2.2.2") for _ in range(4)][2:] == [
        "unauthenticated",
        "too_many_requests",
    ]


async def test_an_outage_is_no_guessing(client: TracedRedis) -> None:
    throttle = LoginThrottle(LIMIT, client)
    for _ in range(10):
        with pytest.raises(Unavailable, match="away"):
            async with throttle.attempt("a@test.com", "1.1.1.1"):
                raise Unavailable("the user service is away")
    assert await guess(throttle, "a@test.com") == "unauthenticated"


async def test_who_keeps_the_bucket_empty_does_not_keep_the_owner_out(client: TracedRedis) -> None:
    throttle = LoginThrottle(LIMIT, client)
    await guess(throttle, "a@test.com", "1.1.1.1", right=True)
    assert [await guess(throttle, "a@test.com", "6.6.6.6") for _ in range(4)][-1] == "too_many_requests"
    assert await guess(throttle, "a@test.com", "1.1.1.1", right=True) == "in"
    # Neither of which is a way around the bound.
    assert [await guess(throttle, "a@test.com", "1.1.1.1") for _ in range(4)][-1] == "too_many_requests"


async def test_a_refusal_lasts_until_the_next_token_and_no_longer(client: TracedRedis) -> None:
    fast = RateLimit(login=LoginLimit(burst=1, per_second=20))
    throttle = LoginThrottle(fast, client)
    await guess(throttle, "a@test.com")
    with pytest.raises(TooManyRequests) as refused:
        async with throttle.attempt("a@test.com", "1.1.1.1"):
            pytest.fail("the bucket is empty")
    assert 0 < refused.value.retry_after <= 1 / 20
    async with asyncio.timeout(5):
        while await guess(throttle, "a@test.com", right=True) != "in":
            await asyncio.sleep(0.005)


async def test_the_store_does_not_learn_who_logs_in(client: TracedRedis) -> None:
    await guess(LoginThrottle(LIMIT, client), "alice@test.com", right=True)
    assert not [key for key in await client.keys() if b"alice" in key or b"1.1.1.1" in key]
    assert account_key("alice@test.com") != place_key("alice@test.com", "1.1.1.1")


async def test_addresses_that_are_no_unicode_are_bounded_like_others(client: TracedRedis) -> None:
    throttle = LoginThrottle(LIMIT, client)
    assert [await guess(throttle, "\ud800@test.com") for _ in range(4)][-1] == "too_many_requests"


@pytest.mark.parametrize("settings", ["deny", "allow"])
async def test_without_a_store_the_settings_decide(settings: Any) -> None:
    async with TracedRedis.from_url("redis://127.0.0.1:1/0") as away:
        throttle = LoginThrottle(RateLimit(when_unavailable=settings), away)
        if settings == "allow":
            assert await guess(throttle, "a@test.com", right=True) == "in"
        else:
            with pytest.raises(Unavailable):
                await guess(throttle, "a@test.com")


async def log_in(edge: Any, email: str, password: str, **request: Any) -> httpx.Response:
    answer: httpx.Response = await edge.call(
        "POST", "/api/login", json={"email": email, "password": password}, **request
    )
    return answer


async def test_the_edge_answers_the_same_for_accounts_that_do_not_exist(
    make_settings: Callable[..., Any], running_edge: Any
) -> None:
    http = Http(trusted_proxies=(Network("127.0.0.0/8"),))
    async with running_edge(make_settings(rate_limit=LIMIT, http=http)) as edge:
        await edge.register("there@test.com")
        said = {
            email: [await log_in(edge, email, WRONG, headers={"x-forwarded-for": f"1.1.1.{n}"}) for n in range(5)]
            for email in ("there@test.com", "nowhere@test.com")
        }
        there, nowhere = ([(a.status_code, a.json()["detail"]) for a in answers] for answers in said.values())
        assert there == nowhere
        assert [status for status, _ in there] == [401] * 3 + [429] * 2
        refused = said["nowhere@test.com"][-1]
        assert (refused.json()["code"], refused.json()["detail"]) == (
            "too_many_requests",
            "too many failed log-ins to this account",
        )
        assert 1 <= int(refused.headers["retry-after"]) <= 20
        # The owner, where the owner has logged in before.
        assert (await log_in(edge, "there@test.com", "a good password")).status_code == 200


@pytest.mark.parametrize(("settings", "status"), [("deny", 503), ("allow", 200)])
async def test_a_login_without_a_store_is_answered_as_the_settings_say(
    make_settings: Callable[..., Any], running_edge: Any, settings: Any, status: int
) -> None:
    away = Redis(url=Secret("redis://127.0.0.1:1/0"))
    async with running_edge(make_settings(redis=away, rate_limit=RateLimit(when_unavailable=settings))) as edge:
        assert (await log_in(edge, "admin@test.com", "correct horse battery")).status_code == status
