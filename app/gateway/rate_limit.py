"""One token bucket per caller in Redis: the whole decision is one Lua script, on the server's clock.

A bucket holds `burst` tokens at most and gains `per_second`, in fractions; a request takes one. Concurrent gateways share
the buckets, and none of them trusts its own clock.
"""

import logging
from functools import cache
from hashlib import sha1
from ipaddress import IPv6Address, IPv6Network
from typing import Final

import msgspec
import redis.exceptions
from prometheus_client import Counter

from app.config import RateLimit
from app.errors import TooManyRequests, Unavailable
from telemetry.conventions import RATE_LIMIT_UNAVAILABLE
from telemetry.redis import TracedRedis

logger = logging.getLogger(__name__)

# KEYS[1] the bucket; ARGV burst, tokens per second, tokens to take (-1 gives one back). Returns {taken, whole tokens left, microseconds until the next one}.
# Redis hands numbers over with 17 digits, so microseconds since 1970 survive.
SCRIPT: Final = """
local burst, rate, cost = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3] or 1)
local clock = redis.call('TIME')
local now = clock[1] * 1000000 + clock[2]
local bucket = redis.call('HMGET', KEYS[1], 'tokens', 'at')
local tokens, at = tonumber(bucket[1]) or burst, tonumber(bucket[2]) or now
-- A clock that was set back gives nothing and takes nothing.
tokens = math.min(burst, tokens + math.max(0, now - at) * rate / 1000000)
local taken = 0
if tokens >= cost then
  tokens, taken = math.min(burst, tokens - cost), 1
end
redis.call('HSET', KEYS[1], 'tokens', tokens, 'at', now)
-- Full again means as good as forgotten.
redis.call('PEXPIRE', KEYS[1], math.ceil((burst - tokens) / rate * 1000) + 1000)
return {taken, math.floor(tokens), math.ceil(math.max(0, 1 - tokens) / rate * 1000000)}
"""
_SHA: Final = sha1(SCRIPT.encode()).hexdigest()  # noqa: S324 - the name that EVALSHA asks for
_PREFIX: Final = "goshop:bucket:"


class Allowance(msgspec.Struct, frozen=True):
    """What is left in a bucket: whole tokens, and seconds until one more; `taken` tells whether this request got one."""

    taken: bool
    left: int
    wait: float


class TokenBuckets:
    """Takes tokens, and says what happens when nobody can be asked."""

    __slots__ = ("_allow", "_arguments", "_redis", "_unavailable", "policy")

    def __init__(self, settings: RateLimit, redis: TracedRedis) -> None:
        self._redis = redis
        self._arguments = (settings.burst, settings.per_second)
        self._allow = settings.when_unavailable == "allow"
        self._unavailable = _unavailable_counter()
        window = max(1, round(settings.burst / settings.per_second))
        # draft-ietf-httpapi-ratelimit-headers: the quota, and the seconds in which it comes back.
        self.policy = f'"bucket";q={settings.burst:.0f};w={window}'.encode()

    async def take(self, key: str, *, refusal: str = "too many requests") -> Allowance | None:
        """Take a token from a bucket; None where the store is away and the settings let everybody pass.

        Raises `TooManyRequests` when the bucket is empty, `Unavailable` when the store is away and the settings say deny.
        """
        try:
            allowance = await self._run(key, 1)
        except redis.exceptions.RedisError as error:
            self._count(error)
            if self._allow:
                return None
            raise Unavailable("the rate limit cannot be checked") from error
        if not allowance.taken:
            raise TooManyRequests(refusal, retry_after=allowance.wait)
        return allowance

    async def give_back(self, key: str) -> None:
        """Return a token that was taken; where the store is away it flows in by itself."""
        try:
            await self._run(key, -1)
        except redis.exceptions.RedisError as error:
            logger.warning("a token cannot be given back: %s", type(error).__name__)

    async def _run(self, key: str, cost: int) -> Allowance:
        arguments = (_PREFIX + key, *self._arguments, cost)
        try:
            answer = await self._redis.evalsha(_SHA, 1, *arguments)
        except redis.exceptions.NoScriptError:
            # First use, or the server was restarted: EVAL also loads it.
            answer = await self._redis.eval(SCRIPT, 1, *arguments)
        taken, left, wait = answer
        return Allowance(taken == 1, left, wait / 1_000_000)

    def _count(self, error: Exception) -> None:
        outcome = "allowed" if self._allow else "denied"
        self._unavailable.labels(outcome).inc()
        logger.warning("the rate limit cannot be checked, the request is %s: %s", outcome, type(error).__name__)


def address_key(address: str) -> str:
    """Name the bucket of a network address; a whole /64 is one customer's in IPv6 (RFC 6177), so it shares one."""
    if ":" not in address:
        return f"address:{address}"
    return f"address:{_network(address)}"


@cache
def _unavailable_counter() -> Counter:
    return Counter(RATE_LIMIT_UNAVAILABLE, "Requests whose rate limit could not be checked", ["outcome"])


def _network(address: str) -> str:
    # A link-local address may carry its interface after a percent sign.
    parsed = IPv6Address(address.partition("%")[0])
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return str(IPv6Network((parsed, 64), strict=False))
