"""What the profiles promise, and what they refuse."""

from collections import Counter

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtests import MIX, RAMP, SMOKE, Arrivals, Profile, Users
from loadtests.plan import scenarios, shares
from loadtests.profiles import JOURNEYS, REQUEST_TIMEOUT


def with_requests(count: int) -> Profile:
    return msgspec.structs.replace(RAMP, load=msgspec.structs.replace(RAMP.load, requests_per_iteration=count))


def test_the_ramp_has_the_users_of_the_specification() -> None:
    assert isinstance(RAMP.load, Users)
    assert (round(RAMP.load.mean_users, 1), RAMP.load.seconds, RAMP.seconds) == (105.8, 180.0, 180.0)


def test_one_request_an_iteration_reaches_100_a_second_up_to_58_ms() -> None:
    one = with_requests(1)
    one.require_reach(100, latency=0.058)
    with pytest.raises(ValueError, match=r"cannot reach 100 requests/s: 1 \* 105\.8 users / \(1 s \+ 1 \* 0\.059 s\)"):
        one.require_reach(100, latency=0.059)


@pytest.mark.parametrize("profile", [SMOKE, RAMP])
def test_the_shipped_profiles_reach_their_target(profile: Profile) -> None:
    profile.require_reach(100)


def test_too_few_waiting_users_are_refused_with_the_numbers() -> None:
    few = Profile(name="few", load=Arrivals(rate=150, users=10), seconds=1)
    with pytest.raises(ValueError, match=r"min\(150/s, 10 users / 0\.2 s\) = 50\.0/s"):
        few.require_reach(100)


def test_every_graceful_time_outlasts_an_iteration() -> None:
    for profile in (SMOKE, RAMP):
        pause = profile.load.pause if isinstance(profile.load, Users) else 0
        longest = pause + profile.load.requests_per_iteration * REQUEST_TIMEOUT
        for scenario in scenarios(profile).values():
            assert int(scenario["gracefulStop"].removesuffix("ms")) / 1000 > longest
    assert {scenario["gracefulRampDown"] for scenario in scenarios(RAMP).values()} == {"30000ms"}


def test_the_users_of_all_scenarios_add_up_to_each_stage() -> None:
    parts = scenarios(RAMP).values()
    assert sum(part["startVUs"] for part in parts) == 10
    assert [sum(stage["target"] for stage in stages) for stages in zip(*(p["stages"] for p in parts), strict=True)] == [
        50,
        200,
        10,
    ]


def test_fifty_iterations_of_the_journeys_send_the_mix() -> None:
    sends = {
        ("query", "product"): ("search", "product"),
        ("query", "page"): ("search", "search"),
        ("order", "read"): ("order_create", "order_read"),
        ("order", "search"): ("search", "order_create"),
        ("login", "search"): ("login", "search"),
    }
    sent: Counter[str] = Counter()
    for journey, variants in JOURNEYS.items():
        for variant, times in variants.items():
            for request in sends[journey, variant]:
                sent[request] += times
    assert sent == MIX


@given(st.integers(0, 10_000), st.dictionaries(st.text(), st.integers(1, 100), min_size=1))
def test_shares_add_up_and_are_off_by_less_than_one(total: int, weights: dict[str, int]) -> None:
    split = shares(total, weights)
    assert sum(split.values()) == total
    for name, weight in weights.items():
        assert abs(split[name] - total * weight / sum(weights.values())) < 1


def test_a_shortened_profile_keeps_rate_and_users() -> None:
    short = SMOKE.shortened(0.1)
    assert (short.load, short.seconds, short.warmup) == (SMOKE.load, 3.0, 1.0)
    ramp = RAMP.shortened(0.1)
    assert isinstance(ramp.load, Users)
    assert (ramp.load.seconds, round(ramp.load.mean_users, 1), ramp.seconds) == (pytest.approx(18), 105.8, 18.0)
