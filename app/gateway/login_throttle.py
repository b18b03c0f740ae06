"""A bound on guessing passwords: one token bucket per account, which only failed log-ins empty.

Accounts that do not exist have a bucket like all others, so that nothing tells them apart. Buckets refill on their own and
nothing is ever locked: NIST SP 800-63B, section 5.2.2, asks for a bound, and a lock would be a weapon against the owner. So
that strangers who keep the bucket empty do not keep the owner out either, an address that has logged in before has a
bucket of its own (after https://owasp.org/www-community/Slow_Down_Online_Guessing_Attacks_with_Device_Cookies).
"""

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from hashlib import sha256
from typing import Any, Final

import msgspec
import redis.exceptions
from litestar import Request

from app.config import RateLimit
from app.errors import Unavailable
from app.gateway.rate_limit import TokenBuckets, address_key
from telemetry.redis import TracedRedis

logger = logging.getLogger(__name__)

FAMILIAR_SECONDS: Final = 30 * 24 * 3600
_PREFIX: Final = "goshop:familiar:"
_REFUSAL: Final = "too many failed log-ins to this account"


class LoginThrottle:
    """Bounds how fast passwords can be guessed for one account, from however many addresses."""

    __slots__ = ("_buckets", "_redis")

    def __init__(self, settings: RateLimit, redis: TracedRedis) -> None:
        login = settings.login
        own = msgspec.structs.replace(settings, burst=login.burst, per_second=login.per_second)
        self._buckets = TokenBuckets(own, redis)
        self._redis = redis

    @asynccontextmanager
    async def attempt(self, account: str, address: str) -> AsyncIterator[None]:
        """Let somebody at an address try to log in inside; what ends well costs nothing.

        Raises, before the password is looked at, `TooManyRequests`, or `Unavailable` where the store is away and the
        settings say deny.
        """
        place = place_key(account, address)
        bucket = place if await self._is_familiar(place) else account_key(account)
        # Taken before and given back after: guesses side by side do not get past the bound.
        await self._buckets.take(bucket, refusal=_REFUSAL)
        try:
            yield
        except Unavailable:
            # Nothing was learnt about the password; an outage must not look like guessing.
            await self._buckets.give_back(bucket)
            raise
        await self._buckets.give_back(bucket)
        await self._remember(place)

    async def _is_familiar(self, place: str) -> bool:
        try:
            return bool(await self._redis.exists(_PREFIX + place))
        except redis.exceptions.RedisError:
            # The bucket's own answer to an absent store comes next.
            return False

    async def _remember(self, place: str) -> None:
        try:
            await self._redis.set(_PREFIX + place, 1, ex=FAMILIAR_SECONDS)
        except redis.exceptions.RedisError as error:
            logger.warning("the place of a log-in cannot be remembered: %s", type(error).__name__)


def logins(request: Request[Any, Any, Any]) -> LoginThrottle:
    """Return the throttle of the application that serves this request."""
    found: LoginThrottle = request.app.state["logins"]
    return found


def account_key(account: str) -> str:
    """Name the bucket of an account without saying whose it is; letter case makes no other account."""
    return f"login:{_digest(account.lower())}"


def place_key(account: str, address: str) -> str:
    """Name the bucket of an account at one address."""
    return f"login:{_digest(f'{account.lower()} {address_key(address)}')}"


def _digest(text: str) -> str:
    return sha256(text.encode("utf-8", "replace")).hexdigest()
