"""The public keys of the user service, fetched by gRPC and kept: its absence stops nobody who has a token."""

import asyncio
import json
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Final

from joserfc.errors import JoseError
from joserfc.jwk import OKPKey

from app import deadline
from app.errors import DeadlineExceeded, ShopError, Unauthenticated, Unavailable

logger = logging.getLogger(__name__)

REFRESH_SECONDS: Final = 10.0
# Strangers can name any key: however many do, the user service is asked this often.
PAUSE_SECONDS: Final = 1.0

Fetch = Callable[[], Awaitable[str]]


class KeyCache:
    """Keys by kid. `generation` counts up whenever they change, so that what was verified with old keys can be told."""

    __slots__ = ("_asked", "_fetch", "_keys", "_pause", "_text", "_underway", "generation")

    def __init__(self, fetch: Fetch, *, pause: float = PAUSE_SECONDS) -> None:
        self._fetch = fetch
        self._pause = pause
        self._keys: Mapping[str, OKPKey] = {}
        self._text = ""
        self._asked = float("-inf")
        self._underway: asyncio.Task[None] | None = None
        self.generation = 0

    async def find(self, kid: str) -> OKPKey:
        """Return a key, asking once more for one that is unknown.

        Raises `Unauthenticated` where the user service does not know it either, `Unavailable` where it cannot be asked.
        """
        if (key := self._keys.get(kid)) is not None:
            return key
        await self._ask_again()
        if (key := self._keys.get(kid)) is None:
            raise Unauthenticated("the token is signed with an unknown key")
        return key

    async def refresh(self) -> None:
        """Fetch the keys now; raises `Unavailable`, and keeps the keys it has, where that fails."""
        text = await self._fetch()
        if text != self._text:
            self._keys = _read(text)
            self._text = text
            self.generation += 1
            logger.info("tokens are verified with the keys %s", ", ".join(self._keys) or "(none)")

    async def keep_fresh(self, every: float = REFRESH_SECONDS) -> None:
        """Fetch again and again, so that a removed key is noticed; never ends."""
        while True:
            try:
                await self.refresh()
            except ShopError as error:
                logger.warning("the keys cannot be fetched: %s", error)
            await asyncio.sleep(every if self.generation else min(every, self._pause))

    async def _ask_again(self) -> None:
        """Join the next fetch: one for everybody who waits, and not before the pause is over."""
        if self._underway is None:
            self._underway = asyncio.create_task(self._after_the_pause())
            self._underway.add_done_callback(self._landed)
        try:
            async with asyncio.timeout(deadline.remaining(60.0)):
                # Shielded: whoever gives up leaves the fetch to the others.
                await asyncio.shield(self._underway)
        except TimeoutError:
            raise DeadlineExceeded("the token's key could not be asked for in time") from None

    async def _after_the_pause(self) -> None:
        await asyncio.sleep(self._asked + self._pause - time.monotonic())
        self._asked = time.monotonic()
        await self.refresh()

    def _landed(self, task: asyncio.Task[None]) -> None:
        self._underway = None
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.info("a token names an unknown key, and the keys cannot be fetched: %s", error)


def _read(text: str) -> dict[str, OKPKey]:
    try:
        keys = [OKPKey.import_key(key) for key in json.loads(text)["keys"]]
    except (ValueError, KeyError, TypeError, JoseError) as error:
        raise Unavailable("the keys of the user service cannot be read") from error
    return {key.kid: key for key in keys if key.kid}
