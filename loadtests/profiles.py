"""The profiles of load: how many requests, or how many users, for how long.

An open model (`Arrivals`) starts requests at a rate whether or not answers come; its shares of bad requests are unbiased.
A closed model (`Users`) has users that wait for each answer: when the shop is slow they ask less often, so that its share of
slow requests can be several times too low (coordinated omission), while its rate tells what the shop can carry.
"""

from itertools import pairwise
from math import inf
from typing import Final

import msgspec

# The shop's traffic in requests out of 100.
MIX: Final = {"search": 50, "product": 20, "order_create": 15, "order_read": 13, "login": 2}

# How the samples name these requests.
ENDPOINTS: Final = {
    "search": "GET /api/products",
    "product": "GET /api/products/{id}",
    "order_create": "POST /api/orders",
    "order_read": "GET /api/orders/{id}",
    "login": "POST /api/login",
}

# Users of the closed model out of 50, by journey; each iteration of any journey sends two requests, so that 50 iterations
# send the mix above: login 2 = login + search; query 20 = search + product, 13 = search + its next page;
# order 13 = create + read, 2 = search + create.
JOURNEYS: Final = {"query": {"product": 20, "page": 13}, "order": {"read": 13, "search": 2}, "login": {"search": 2}}

# Seconds. A request that takes longer has failed; every graceful time is longer than all requests of an iteration.
REQUEST_TIMEOUT: Final = 10.0
_GRACE: Final = 5.0
_SHORTEST: Final = 1.0


class Stage(msgspec.Struct, frozen=True):
    """The number of users goes to `users` in a straight line within `seconds`."""

    seconds: float
    users: int


class Arrivals(msgspec.Struct, frozen=True):
    """Open model: `rate` requests a second, one an iteration; `users` of them may wait for answers at a time."""

    rate: int
    users: int

    @property
    def requests_per_iteration(self) -> int:
        """One, so that the rate of iterations is the rate of requests."""
        return 1

    @property
    def grace(self) -> float:
        """Seconds after the end in which a request may still be answered."""
        return REQUEST_TIMEOUT + _GRACE

    def ceiling(self, latency: float) -> float:
        """Return the highest rate in requests/s that is possible at this mean latency in seconds."""
        return min(float(self.rate), self.users / latency)


class Users(msgspec.Struct, frozen=True):
    """Closed model: users come and go by stages; each sends `requests_per_iteration` and then pauses `pause` seconds."""

    start: int
    stages: tuple[Stage, ...]
    pause: float = 1.0
    requests_per_iteration: int = 2
    grace: float = 30.0

    @property
    def seconds(self) -> float:
        """Length of all stages."""
        return sum(stage.seconds for stage in self.stages)

    @property
    def mean_users(self) -> float:
        """Users at a time, averaged over the stages."""
        levels = (self.start, *(stage.users for stage in self.stages))
        pairs = zip(self.stages, pairwise(levels), strict=True)
        return sum(stage.seconds * (before + after) / 2 for stage, (before, after) in pairs) / self.seconds

    def ceiling(self, latency: float) -> float:
        """Return the highest mean rate in requests/s that is possible at this mean latency: k·VUs / (sleep + k·latency)."""
        k = self.requests_per_iteration
        return k * self.mean_users / (self.pause + k * latency)


class Scenario(msgspec.Struct, frozen=True, kw_only=True):
    """One scenario of a script, as k6 says that it will run it; times are seconds from the beginning of the load."""

    name: str
    start: float
    seconds: float
    # At most so many virtual users at a time.
    users: int
    # Iterations that its arrival rate starts; None in the closed model.
    iterations: float | None
    grace: float
    warmup: bool = False

    @property
    def end(self) -> float:
        """When it starts nothing new any more."""
        return self.start + self.seconds


class Scripted(msgspec.Struct, frozen=True):
    """What any k6 script does by its own options; how many requests an iteration sends, and when it pauses, is its own."""

    scenarios: tuple[Scenario, ...]

    @property
    def judged(self) -> tuple[Scenario, ...]:
        """The scenarios that are not warm-up."""
        return tuple(scenario for scenario in self.scenarios if not scenario.warmup)

    @property
    def open(self) -> bool:
        """Whether every judged scenario has an arrival rate."""
        return all(scenario.iterations is not None for scenario in self.judged)

    @property
    def grace(self) -> float:
        """Seconds after the end of the judged time in which a request may still be answered."""
        end = max(scenario.end for scenario in self.judged)
        return max(scenario.end + scenario.grace for scenario in self.scenarios) - end

    def ceiling(self, latency: float) -> float:  # noqa: ARG002 - the others know what latency does to them
        """Return no bound: how many requests an iteration sends is not known before it runs."""
        return inf


class Profile(msgspec.Struct, frozen=True, kw_only=True):
    """One profile: a load for `seconds`, after `warmup` seconds at the same rate that are not judged."""

    name: str
    load: Arrivals | Users | Scripted
    seconds: float
    warmup: float = 0.0

    @property
    def total_seconds(self) -> float:
        """Planned length without the graceful tail."""
        return self.warmup + self.seconds

    def shortened(self, factor: float) -> "Profile":
        """Return the same profile with every planned time multiplied by `factor`; pauses and graceful times stay.

        k6 takes no phase below one second, so none gets shorter than that.
        """
        load = self.load
        if isinstance(load, Scripted):
            raise TypeError("a script's own load has the length that its options say")
        if isinstance(load, Users):
            stages = tuple(Stage(stage.seconds * factor, stage.users) for stage in load.stages)
            load = msgspec.structs.replace(load, stages=stages)
        seconds, warmup = max(_SHORTEST, self.seconds * factor), self.warmup and max(_SHORTEST, self.warmup * factor)
        return msgspec.structs.replace(self, load=load, seconds=seconds, warmup=warmup)

    def require_reach(self, target: float, latency: float = 0.2) -> None:
        """Raise ValueError if the profile cannot reach `target` requests/s at a mean latency of `latency` seconds.

        Users who pause can't send faster than they come round: a target above that ceiling would fail any shop.
        """
        ceiling = self.load.ceiling(latency)
        if ceiling >= target:
            return
        raise ValueError(
            f"profile {self.name} cannot reach {target:g} requests/s: {_arithmetic(self.load, latency)} = {ceiling:.1f}/s; "
            "give it more users, more requests an iteration or a shorter pause"
        )


def _arithmetic(load: Arrivals | Users | Scripted, latency: float) -> str:
    if isinstance(load, Arrivals):
        return f"min({load.rate}/s, {load.users} users / {latency:g} s)"
    if isinstance(load, Scripted):
        return "its script's own options"
    k = load.requests_per_iteration
    return f"{k} * {load.mean_users:.1f} users / ({load.pause:g} s + {k} * {latency:g} s)"


# 300 users: a shop that needs 2 s for every answer still gets all 150 requests a second.
SMOKE: Final = Profile(name="smoke", load=Arrivals(rate=150, users=300), seconds=30.0, warmup=5.0)
# Spec D5.
RAMP: Final = Profile(name="ramp", load=Users(10, (Stage(30, 50), Stage(120, 200), Stage(30, 10))), seconds=180.0)
PROFILES: Final = {profile.name: profile for profile in (SMOKE, RAMP)}
