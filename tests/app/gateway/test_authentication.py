"""Tokens that are good, and every way they can be bad."""

import asyncio
import base64
import hashlib
import hmac
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from joserfc import jwt
from joserfc.jwk import OKPKey

from app import deadline
from app.config import Auth
from app.errors import DeadlineExceeded, Unauthenticated, Unavailable
from app.gateway.authentication import Authenticator
from app.gateway.key_cache import KeyCache
from app.identity import NOBODY, Caller
from app.ids import new_id
from app.user.keys import KeyRing, rotate
from app.user.tokens import Tokens

AUTH = Auth()


class Issuer:
    """Keys in a folder, and an authenticator that fetches them as a gateway does."""

    def __init__(self, folder: Path, **options: Any) -> None:
        self.folder = folder
        self.kid = rotate(folder)
        self.ring = KeyRing(folder)
        self.fetches = 0
        self.away = False
        self.cache = KeyCache(self.fetch, pause=0.0)
        self.authenticator = Authenticator(AUTH, self.cache, **options)

    async def fetch(self) -> str:
        self.fetches += 1
        await asyncio.sleep(0)
        if self.away:
            raise Unavailable("away")
        return self.ring.public()

    def token(self, auth: Auth = AUTH) -> str:
        return Tokens(auth, self.ring).issue("alice", "customer")

    def forge(self, key: OKPKey | None = None, header: dict[str, Any] | None = None, **claims: Any) -> str:
        """Return a token with some claims or header members changed, None takes one away."""
        now = int(time.time())
        said = {"iss": "goshop", "aud": "goshop", "sub": "alice", "role": "customer", "nbf": now, "exp": now + 60}
        said = {name: value for name, value in {**said, **claims}.items() if value is not None}
        key = key or self.ring.keys()[self.kid]
        return jwt.encode({"alg": "Ed25519", "kid": self.kid, **(header or {})}, said, key, ["Ed25519"])

    async def caller(self, token: str, scheme: str = "Bearer") -> Caller:
        return await self.authenticator.caller(f"{scheme} {token}")


@pytest.fixture
def issuer(tmp_path: Path) -> Issuer:
    return Issuer(tmp_path / "keys")


def part(value: Any) -> str:
    """Encode a part of a token by hand."""
    data = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


async def check_refusal(issuer: Issuer, token: str) -> None:
    with pytest.raises(Unauthenticated):
        await issuer.caller(token)


async def test_who_brings_no_token_is_nobody(issuer: Issuer) -> None:
    assert await issuer.authenticator.caller(None) == NOBODY


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
async def test_a_good_token_proves_its_subject_and_role(issuer: Issuer, scheme: str) -> None:
    assert await issuer.caller(issuer.token(), scheme) == Caller("alice", "customer")


@pytest.mark.parametrize("authorization", ["", "Bearer", "Bearer ", "Basic YTpi", "Token x", "Bearer ä.b.c"])
async def test_what_is_no_bearer_token_is_refused(issuer: Issuer, authorization: str) -> None:
    with pytest.raises(Unauthenticated):
        await issuer.authenticator.caller(authorization)


@pytest.mark.parametrize(
    "token",
    ["a", "a.b.c", "..", "e30.e30.e30", "eyJhbGciOiJFZDI1NTE5In0..", "!.!.!", "x" * 5_000, "a.b.c.d.e", "a b.c.d"],
    ids=lambda token: token[:20],
)
async def test_a_malformed_token_is_refused(issuer: Issuer, token: str) -> None:
    await check_refusal(issuer, token)


@pytest.mark.parametrize("algorithm", ["none", "None", "NONE", "", None, 7, "HS256", "RS256", "ES256", "EdDSA"])
async def test_no_other_algorithm_is_allowed(issuer: Issuer, algorithm: Any) -> None:
    _, claims, signature = issuer.forge().split(".")
    header = part({"alg": algorithm, "kid": issuer.kid})
    await check_refusal(issuer, f"{header}.{claims}.{signature}")
    await check_refusal(issuer, f"{header}.{claims}.")


async def test_a_public_key_is_no_shared_secret(issuer: Issuer) -> None:
    await issuer.caller(issuer.forge())
    public = issuer.ring.keys()[issuer.kid]
    secrets = [
        public.as_pem(private=False),
        public.as_dict(private=False)["x"].encode(),  # type: ignore[union-attr]
        base64.urlsafe_b64decode(public.as_dict(private=False)["x"] + "="),  # type: ignore[operator]
    ]
    claims = issuer.forge().split(".")[1]
    for algorithm in ("HS256", "Ed25519"):
        signed = f"{part({'alg': algorithm, 'kid': issuer.kid})}.{claims}"
        for secret in secrets:
            mac = hmac.new(secret, signed.encode(), hashlib.sha256).digest()
            await check_refusal(issuer, f"{signed}.{part(mac)}")


async def test_another_key_under_our_kid_is_refused(issuer: Issuer) -> None:
    await check_refusal(issuer, issuer.forge(key=OKPKey.generate_key("Ed25519")))


async def test_a_key_that_the_token_brings_along_is_not_used(issuer: Issuer) -> None:
    key = OKPKey.generate_key("Ed25519", {"kid": "mine"})
    for header in ({"jwk": key.as_dict(private=False)}, {"kid": "mine", "jwk": key.as_dict(private=False)}):
        await check_refusal(issuer, issuer.forge(key=key, header=header))
    await check_refusal(issuer, issuer.forge(key=key, header={"jku": "http://127.0.0.1:1/keys", "kid": "mine"}))


@pytest.mark.parametrize(
    "kid", ["../../../../dev/null", "/dev/null", "'; DROP TABLE users; --", "", "a" * 4_000, "*", None, 7, ["a"]]
)
async def test_a_kid_is_only_ever_a_name(issuer: Issuer, kid: Any) -> None:
    _, claims, signature = issuer.forge().split(".")
    await check_refusal(issuer, f"{part({'alg': 'Ed25519', 'kid': kid})}.{claims}.{signature}")
    await check_refusal(issuer, f"{part({'alg': 'Ed25519', 'kid': kid})}.{claims}.")


async def test_a_changed_claim_breaks_the_signature(issuer: Issuer) -> None:
    header, _, signature = issuer.forge().split(".")
    now = int(time.time())
    claims = {"iss": "goshop", "aud": "goshop", "sub": "alice", "role": "admin", "nbf": now, "exp": now + 60}
    await check_refusal(issuer, f"{header}.{part(claims)}.{signature}")


@pytest.mark.parametrize(
    "claims",
    [
        {"exp": 1},
        {"exp": None},
        {"exp": "9999999999"},
        {"nbf": int(time.time()) + 3_600},
        {"iss": "another shop"},
        {"iss": None},
        {"aud": "another shop"},
        {"aud": None},
        {"role": "system"},
        {"role": "owner"},
        {"role": None},
        {"sub": None},
        {"sub": 7},
    ],
    ids=str,
)
async def test_a_claim_that_does_not_fit_is_refused(issuer: Issuer, claims: dict[str, Any]) -> None:
    await check_refusal(issuer, issuer.forge(**claims))


async def test_a_critical_extension_that_nobody_knows_is_refused(issuer: Issuer) -> None:
    _, claims, signature = issuer.forge().split(".")
    header = part({"alg": "Ed25519", "kid": issuer.kid, "crit": ["exp"], "exp": 1})
    await check_refusal(issuer, f"{header}.{claims}.{signature}")


async def test_a_remembered_token_ends_when_it_says(issuer: Issuer, monkeypatch: pytest.MonkeyPatch) -> None:
    token = issuer.forge(exp=int(time.time()) + 60)
    await issuer.caller(token)
    later = time.time() + 61
    monkeypatch.setattr("app.gateway.authentication.time.time", lambda: later)
    await check_refusal(issuer, token)


async def test_only_so_many_tokens_are_remembered(tmp_path: Path) -> None:
    issuer = Issuer(tmp_path / "keys", capacity=3)
    tokens = [issuer.token() for _ in range(5)]
    for token in tokens:
        await issuer.caller(token)
    assert list(issuer.authenticator._remembered) == tokens[-3:]


async def test_a_new_key_is_asked_for_once_by_all_who_need_it(issuer: Issuer) -> None:
    await issuer.caller(issuer.token())
    before = issuer.fetches
    rotate(issuer.folder)
    tokens = [issuer.token() for _ in range(20)]
    callers = await asyncio.gather(*(issuer.caller(token) for token in tokens))
    assert set(callers) == {Caller("alice", "customer")}
    assert issuer.fetches == before + 1


async def test_old_tokens_stay_good_after_a_rotation(issuer: Issuer) -> None:
    old = issuer.token()
    rotate(issuer.folder)
    await issuer.caller(issuer.token())
    assert await issuer.caller(old) == Caller("alice", "customer")


async def test_a_removed_key_stops_also_the_tokens_that_are_remembered(issuer: Issuer) -> None:
    old = issuer.token()
    await issuer.caller(old)
    rotate(issuer.folder)
    (issuer.folder / f"{issuer.kid}.jwk").unlink()
    await issuer.cache.refresh()
    await check_refusal(issuer, old)


async def test_known_keys_are_enough_while_the_user_service_is_away(issuer: Issuer) -> None:
    await issuer.caller(issuer.token())
    issuer.away = True
    assert await issuer.caller(issuer.token()) == Caller("alice", "customer")


async def test_without_any_key_nobody_can_be_told_from_anybody(issuer: Issuer) -> None:
    issuer.away = True
    with pytest.raises(Unavailable):
        await issuer.caller(issuer.token())
    issuer.away = False
    assert await issuer.caller(issuer.token()) == Caller("alice", "customer")


async def test_strangers_who_name_keys_do_not_make_us_ask_all_the_time(tmp_path: Path) -> None:
    issuer = Issuer(tmp_path / "keys")
    issuer.cache = KeyCache(issuer.fetch, pause=60.0)
    issuer.authenticator = Authenticator(AUTH, issuer.cache)
    await check_refusal(issuer, issuer.forge(header={"kid": "first"}))
    for _ in range(10):
        with deadline.within(0.01), pytest.raises(DeadlineExceeded):
            await issuer.caller(issuer.forge(header={"kid": new_id()}))
    assert issuer.fetches == 1
    # Whoever waited and gave up left nothing behind that fails later.
    issuer.cache._underway.cancel()  # type: ignore[union-attr]


async def test_the_edge_asks_for_a_login(make_settings: Callable[..., Any], running_edge: Any) -> None:
    async with running_edge(make_settings()) as edge:
        for token in ("", "a.b.c"):
            answer = await edge.call("GET", f"/api/orders/{new_id()}", token=token)
            assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")
            assert len(answer.json()["trace_id"]) == 32
        answer = await edge.call("GET", "/api/products", headers=[("authorization", "Bearer a")] * 2)
        assert answer.status_code == 401


async def test_the_edge_follows_a_rotation_without_a_restart(
    make_settings: Callable[..., Any], running_edge: Any
) -> None:
    async with running_edge(make_settings()) as edge:
        user_id, old = await edge.register()
        rotate(edge.keys)
        new = await edge.log_in()
        assert jwt.decode(new, KeyRing(edge.keys).keys()[max(KeyRing(edge.keys).keys())], ["Ed25519"])
        for token in (old, new):
            assert (await edge.call("GET", f"/api/users/{user_id}", token=token)).status_code == 200


async def test_the_edge_without_the_user_service_and_without_keys_says_so(
    make_settings: Callable[..., Any], running_edge: Any, tmp_path: Path
) -> None:
    async with running_edge(make_settings(), with_user=False) as edge:
        token = Issuer(tmp_path / "keys").token()
        answer = await edge.call("GET", f"/api/orders/{new_id()}", token=token)
        assert (answer.status_code, answer.json()["code"]) == (503, "unavailable")
        assert (await edge.call("GET", "/api/products")).status_code == 200
