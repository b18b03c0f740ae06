"""Access tokens: short-lived JWTs that say who somebody is and in which role (RFC 7519, RFC 8037)."""

import time

from joserfc import jwt

from app.config import Auth
from app.errors import Unavailable
from app.ids import new_id
from app.user.keys import ALGORITHM, KeyRing


class Tokens:
    """Issues tokens, signed with the newest key."""

    __slots__ = ("_auth", "_keys")

    def __init__(self, auth: Auth, keys: KeyRing) -> None:
        self._auth = auth
        self._keys = keys

    def issue(self, subject: str, role: str) -> str:
        """Return a token that is valid from now for `auth.token_ttl` seconds; raises `Unavailable` without a key."""
        keys = self._keys.keys()
        if not keys:
            raise Unavailable("there is no key to sign with")
        kid = next(reversed(keys))
        return jwt.encode({"alg": ALGORITHM, "kid": kid}, self._claims(subject, role), keys[kid], [ALGORITHM])

    def _claims(self, subject: str, role: str) -> dict[str, str | int]:
        now = int(time.time())
        return {
            "iss": self._auth.issuer,
            "aud": self._auth.audience,
            "sub": subject,
            "role": role,
            "iat": now,
            "nbf": now,
            "exp": now + self._auth.token_ttl,
            "jti": new_id(),
        }
