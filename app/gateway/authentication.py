"""Who is calling: the bearer token, verified against the user service's keys (RFC 6750, RFC 7519, RFC 8725).

One algorithm is allowed, and the key is found by `kid` among the fetched ones only; neither `alg: none`, nor a key that
came along in the token, nor a public key abused as a shared secret gets anywhere.
"""

import binascii
import time
from base64 import urlsafe_b64decode
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any, Final, Literal

import msgspec
from joserfc import jwt
from joserfc.errors import JoseError

from app.config import Auth
from app.errors import Unauthenticated
from app.gateway.key_cache import KeyCache
from app.identity import NOBODY, Caller

# RFC 9864; the key's own file says so too.
ALGORITHM: Final = "Ed25519"
TOKEN_LENGTH: Final = 4_096
# A verification costs about 120 µs, remembering it 1 kB.
REMEMBERED: Final = 10_000
# Clocks of two hosts differ; a token from this far in the future is still one from now. None is given at the end.
LEEWAY_SECONDS: Final = 5


class _Header(msgspec.Struct):
    alg: str
    kid: str
    crit: Any = None


class _Claims(msgspec.Struct):
    iss: str
    aud: str
    sub: str
    role: Literal["customer", "admin"]
    nbf: int
    exp: int


_header = msgspec.json.Decoder(_Header)


@dataclass(frozen=True, slots=True)
class _Verified:
    caller: Caller
    expires: int
    generation: int


class Authenticator:
    """Finds out who is calling from the `Authorization` header."""

    __slots__ = ("_auth", "_capacity", "_keys", "_remembered")

    def __init__(self, auth: Auth, keys: KeyCache, *, capacity: int = REMEMBERED) -> None:
        self._auth = auth
        self._keys = keys
        self._capacity = capacity
        self._remembered: OrderedDict[str, _Verified] = OrderedDict()

    async def caller(self, authorization: str | None) -> Caller:
        """Return who the header proves, nobody without one; raises `Unauthenticated`, or `Unavailable` without keys."""
        if authorization is None:
            return NOBODY
        token = _bearer(authorization)
        if (known := self._recall(token)) is not None:
            return known.caller
        verified = await self._verify(token)
        self._remember(token, verified)
        return verified.caller

    def _recall(self, token: str) -> _Verified | None:
        known = self._remembered.get(token)
        if known is None:
            return None
        if known.generation != self._keys.generation or known.expires <= time.time():
            del self._remembered[token]
            return None
        self._remembered.move_to_end(token)
        return known

    def _remember(self, token: str, verified: _Verified) -> None:
        self._remembered[token] = verified
        if len(self._remembered) > self._capacity:
            self._remembered.popitem(last=False)

    async def _verify(self, token: str) -> _Verified:
        header = _read_header(token)
        key = await self._keys.find(header.kid)
        generation = self._keys.generation
        try:
            claims = msgspec.convert(jwt.decode(token, key, [ALGORITHM]).claims, _Claims)
        except (JoseError, ValueError, msgspec.ValidationError):
            raise Unauthenticated("the token is not one of ours") from None
        self._check(claims)
        return _Verified(Caller(claims.sub, claims.role), claims.exp, generation)

    def _check(self, claims: _Claims) -> None:
        now = time.time()
        if claims.exp <= now:
            raise Unauthenticated("the token has expired")
        if claims.nbf > now + LEEWAY_SECONDS:
            raise Unauthenticated("the token is not valid yet")
        if claims.iss != self._auth.issuer or claims.aud != self._auth.audience:
            raise Unauthenticated("the token is not for this shop")


def _bearer(authorization: str) -> str:
    scheme, _, token = authorization.partition(" ")
    if scheme.lower() != "bearer" or not token or len(token) > TOKEN_LENGTH or not token.isascii():
        raise Unauthenticated("the Authorization header is not a bearer token")
    return token


def _read_header(token: str) -> _Header:
    """Read the unverified header: only what finds the key, and what is refused before any cryptography."""
    first = token.partition(".")[0]
    try:
        header = _header.decode(urlsafe_b64decode(first + "=" * (-len(first) % 4)))
    except (binascii.Error, ValueError, msgspec.DecodeError):
        raise Unauthenticated("the token is malformed") from None
    if header.alg != ALGORITHM or header.crit is not None:
        raise Unauthenticated(f"tokens are signed with {ALGORITHM}")
    return header
