"""The contract user.v1.UserService, over a real channel."""

import asyncio
import json
import statistics
import time
from typing import Any

import msgspec
import psycopg
import pytest
from joserfc import jwt

from app.config import Auth, ConfigError
from app.errors import AlreadyExists, InvalidRequest, NotFound, Unauthenticated, Unavailable
from app.identity import ADMIN, CUSTOMER, Caller
from app.ids import new_id
from app.rpc.user.v1.user_pb2 import CreateUserRequest, GetJwksRequest, GetUserRequest, LoginRequest
from app.service import running
from app.user import app
from app.user.keys import KeyRing, rotate

pytestmark = pytest.mark.asyncio(loop_scope="module")

PASSWORD = "a good password"


async def register(service: Any, **changes: Any) -> Any:
    said = {"name": "Alice", "email": f"{new_id()}@test.com", "age": 33, "password": PASSWORD}
    return await service.call("CreateUser", CreateUserRequest(**{**said, **changes}))


async def log_in(service: Any, email: str, password: str = PASSWORD) -> Any:
    return await service.call("Login", LoginRequest(email=email, password=password))


async def claims_of(service: Any, email: str) -> dict[str, Any]:
    answer = await log_in(service, email)
    keys = KeyRing(service.keys).keys()
    return jwt.decode(answer.access_token, keys[max(keys)], ["Ed25519"]).claims


async def test_a_new_account_is_a_customers(service: Any) -> None:
    user = await register(service, email="Alice@Test.com")
    assert (user.name, user.age, user.email, user.role) == ("Alice", 33, "Alice@Test.com", CUSTOMER)
    assert user.created_at.endswith("Z")


async def test_an_address_has_one_account_also_when_many_ask_at_once(service: Any) -> None:
    email = f"{new_id()}@test.com"
    answers = await asyncio.gather(
        *(register(service, email=spelt, password="") for spelt in (email, email.upper()) * 5), return_exceptions=True
    )
    assert sum(isinstance(answer, AlreadyExists) for answer in answers) == 9


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"email": ""}, "email"),
        ({"email": "a@b"}, "email"),
        ({"email": "a@-b.com"}, "email"),
        ({"email": "@b.com"}, "email"),
        ({"email": "a" * 65 + "@b.com"}, "email"),
        ({"email": "a@b.com "}, "email"),
        ({"email": "nul\0@b.com"}, "email"),
        ({"name": ""}, "name"),
        ({"name": "nul\0"}, "name"),
        ({"name": "n" * 201}, "name"),
        ({"age": -1}, "age"),
        ({"age": 151}, "age"),
        ({"password": "short"}, "password"),
        ({"password": "p" * 257}, "password"),
    ],
)
async def test_what_is_no_account_is_refused_by_field(service: Any, change: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        await register(service, **change)
    assert refused.value.field == field


@pytest.mark.parametrize("email", ["o'hara+shop@mail.test.co.uk", "x@xn--bcher-kva.example", "1@a.b", "a.b_c-d@e-f.gh"])
async def test_unusual_addresses_are_addresses(service: Any, email: str) -> None:
    assert (await register(service, email=email)).email == email


async def test_an_account_is_shown_to_its_owner_and_the_admin_only(service: Any) -> None:
    user = await register(service)
    request = GetUserRequest(user_id=user.id)
    assert await service.call("GetUser", request, Caller(user.id, CUSTOMER)) == user
    assert await service.call("GetUser", request, Caller(new_id(), ADMIN)) == user
    with pytest.raises(NotFound):
        await service.call("GetUser", request, Caller(new_id(), CUSTOMER))
    with pytest.raises(Unauthenticated):
        await service.call("GetUser", request)


async def test_the_admin_learns_that_there_is_no_such_account(service: Any) -> None:
    with pytest.raises(NotFound):
        await service.call("GetUser", GetUserRequest(user_id=new_id()), Caller(new_id(), ADMIN))
    with pytest.raises(InvalidRequest):
        await service.call("GetUser", GetUserRequest(user_id="1"), Caller(new_id(), ADMIN))


async def test_a_token_says_who_for_whom_and_how_long(service: Any) -> None:
    user = await register(service)
    claims = await claims_of(service, user.email)
    assert claims.keys() == {"iss", "aud", "sub", "role", "iat", "nbf", "exp", "jti"}
    assert (claims["sub"], claims["role"], claims["iss"], claims["aud"]) == (user.id, CUSTOMER, "goshop", "goshop")
    assert claims["exp"] - claims["iat"] == 900
    assert abs(claims["iat"] - time.time()) < 5


async def test_the_admin_of_the_settings_logs_in_as_admin(service: Any) -> None:
    answer = await log_in(service, "ADMIN@test.com", "correct horse")
    keys = KeyRing(service.keys).keys()
    assert jwt.decode(answer.access_token, keys[max(keys)], ["Ed25519"]).claims["role"] == ADMIN


@pytest.mark.parametrize("password", ["wrong password", "", "x" * 10_000, "nul\0"])
async def test_a_wrong_password_is_refused(service: Any, password: str) -> None:
    user = await register(service)
    with pytest.raises(Unauthenticated):
        await log_in(service, user.email, password)


@pytest.mark.parametrize("password", ["", "None", PASSWORD, "nobody's password"])
async def test_an_account_without_a_password_cannot_log_in(service: Any, password: str) -> None:
    user = await register(service, password="")
    with pytest.raises(Unauthenticated):
        await log_in(service, user.email, password)


@pytest.mark.parametrize("email", ["", "nul\0@test.com", "' OR 1=1 --", "x" * 10_000])
async def test_what_is_no_address_cannot_log_in(service: Any, email: str) -> None:
    with pytest.raises(Unauthenticated):
        await log_in(service, email)


async def test_the_same_password_typed_in_another_unicode_form_is_the_same(service: Any) -> None:
    user = await register(service, password="Zürich Zürich")
    assert (await log_in(service, user.email, "Zu\u0308rich Zu\u0308rich")).access_token


async def test_an_unknown_address_takes_as_long_as_a_wrong_password(service: Any) -> None:
    user = await register(service)

    async def seconds(email: str) -> float:
        began = time.perf_counter()
        with pytest.raises(Unauthenticated):
            await log_in(service, email, "wrong password")
        return time.perf_counter() - began

    known = statistics.median([await seconds(user.email) for _ in range(9)])
    unknown = statistics.median([await seconds("unknown@test.com") for _ in range(9)])
    assert 0.5 < unknown / known < 2


async def test_a_password_is_stored_as_argon2id_only(service: Any) -> None:
    user = await register(service)
    db = service.settings.db
    conninfo = psycopg.conninfo.make_conninfo(
        host=db.host, port=db.port, user=db.user, password=db.password, dbname="goshop_user"
    )
    async with await psycopg.AsyncConnection.connect(conninfo) as conn:
        row = await (await conn.execute("SELECT * FROM users WHERE id = %s", [user.id])).fetchone()
    assert row is not None
    assert PASSWORD not in str(row)
    assert "$argon2id$v=19$m=19456,t=2,p=1$" in str(row)


async def test_the_public_keys_tell_nothing_private_and_follow_the_folder(service: Any) -> None:
    kid = rotate(service.keys)
    keys = json.loads((await service.call("GetJwks", GetJwksRequest())).json)["keys"]
    assert keys[-1]["kid"] == kid
    assert all(key.keys() == {"crv", "x", "kid", "use", "alg", "kty"} for key in keys)
    (service.keys / f"{kid}.jwk").unlink()
    keys = json.loads((await service.call("GetJwks", GetJwksRequest())).json)["keys"]
    assert kid not in [key["kid"] for key in keys]


async def test_too_many_logins_at_once_are_refused_and_the_others_served(service: Any) -> None:
    queue = service.settings.auth.hashing_queue
    answers = await asyncio.gather(
        *(log_in(service, "unknown@test.com") for _ in range(queue + 30)), return_exceptions=True
    )
    refused = sum(isinstance(answer, Unavailable) for answer in answers)
    assert 0 < refused <= 30
    assert sum(isinstance(answer, Unauthenticated) for answer in answers) == len(answers) - refused


@pytest.mark.parametrize("keys", ["", "empty"])
async def test_without_keys_the_service_does_not_start(settings: Any, tmp_path: Any, keys: str) -> None:
    folder = str(tmp_path) if keys else ""
    with pytest.raises(ConfigError, match=r"auth\.keys"):
        async with running(app, msgspec.structs.replace(settings, auth=Auth(keys=folder))):
            pass


async def test_letters_that_only_the_database_takes_for_ascii_are_no_way_in(service: Any) -> None:
    # U+0130 becomes "i" and U+212A "k" in lower() of some locales; a bound on log-ins keyed by the text would be another one.
    email = f"ik{new_id()}@test.com"
    await register(service, email=email)
    for spelt in ("\u0130k", "i\u212a"):
        with pytest.raises(Unauthenticated):
            await log_in(service, spelt + email[2:])
    assert (await log_in(service, email.upper())).access_token
