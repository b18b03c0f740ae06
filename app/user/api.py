"""The contract user.v1.UserService: who may do what, and what an account must be like."""

# ruff: noqa: N802 - the methods are named by the contract

import re
from pathlib import Path
from typing import Any, Final

from app import identity
from app.config import ConfigError
from app.errors import AlreadyExists, InvalidRequest, NotFound, Unauthenticated
from app.ids import new_id, parse_id
from app.rpc.user.v1.user_pb2 import (
    CreateUserRequest,
    GetJwksRequest,
    GetUserRequest,
    Jwks,
    LoginRequest,
    LoginResponse,
    User,
)
from app.rpc.user.v1.user_pb2_grpc import UserServiceServicer, add_UserServiceServicer_to_server
from app.rpc_server import Registration
from app.service import Resources, create_service
from app.timestamps import rfc3339
from app.user.keys import KeyRing
from app.user.passwords import Passwords
from app.user.store import Account, Accounts
from app.user.tokens import Tokens

# What browsers accept (https://html.spec.whatwg.org/#valid-e-mail-address), and at least one dot in the domain.
_LABEL: Final = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_EMAIL: Final = re.compile(rf"[A-Za-z0-9.!#$%&'*+/=?^_`{{|}}~-]{{1,64}}@{_LABEL}(?:\.{_LABEL})+")
# RFC 5321, section 4.5.3.1.3: a path is at most 256 octets, with its angle brackets.
_EMAIL_LENGTH: Final = 254
_PASSWORD_LENGTH: Final = range(8, 257)
_NAME_LENGTH: Final = range(1, 201)
_AGES: Final = range(151)

Context = Any


class UserApi(UserServiceServicer):
    """Accounts and log-ins."""

    def __init__(self, accounts: Accounts, passwords: Passwords, tokens: Tokens, keys: KeyRing, token_ttl: int) -> None:
        self._accounts = accounts
        self._passwords = passwords
        self._tokens = tokens
        self._keys = keys
        self._token_ttl = token_ttl

    async def CreateUser(self, request: CreateUserRequest, _context: Context) -> User:
        """Register a customer; anybody may."""
        _check(request)
        hashed = await self._passwords.hash(request.password) if request.password else None
        account = await self._accounts.add(new_id(), request.name, request.age or None, request.email, hashed)
        if account is None:
            raise AlreadyExists("an account with this email exists")
        return _message(account)

    async def GetUser(self, request: GetUserRequest, _context: Context) -> User:
        """Show an account to its owner or the admin."""
        identity.require_login()
        user_id = parse_id(request.user_id)
        identity.require_owner(user_id, "user")
        if (account := await self._accounts.by_id(user_id)) is None:
            raise NotFound("there is no such user")
        return _message(account)

    async def Login(self, request: LoginRequest, _context: Context) -> LoginResponse:
        """Issue a token; the answer and its time tell nobody which addresses have accounts."""
        # No account has any other letters. PostgreSQL's lower() makes ASCII of some, which other bounds would not know.
        email = request.email if request.email.isascii() and "\0" not in request.email else ""
        account = await self._accounts.by_email(email)
        matches = await self._passwords.verify(account.password_hash if account else None, request.password)
        if account is None or not matches:
            raise Unauthenticated("the email or the password is wrong")
        token = self._tokens.issue(account.id, account.role)
        return LoginResponse(access_token=token, expires_in=self._token_ttl)

    async def GetJwks(self, _request: GetJwksRequest, _context: Context) -> Jwks:
        """Tell with which keys tokens are verified."""
        return Jwks(json=self._keys.public())


def _check(request: CreateUserRequest) -> None:
    if len(request.email) > _EMAIL_LENGTH or not _EMAIL.fullmatch(request.email):
        raise InvalidRequest("email: not an e-mail address", field="email")
    if len(request.name) not in _NAME_LENGTH or "\0" in request.name:
        raise InvalidRequest("name: between 1 and 200 characters, without NUL", field="name")
    if request.age not in _AGES:
        raise InvalidRequest("age: between 1 and 150", field="age")
    if request.password and len(request.password) not in _PASSWORD_LENGTH:
        raise InvalidRequest("password: between 8 and 256 characters", field="password")


def _message(account: Account) -> User:
    return User(
        id=account.id,
        name=account.name,
        age=account.age or 0,
        email=account.email,
        role=account.role,
        created_at=rfc3339(account.created_at),
    )


def _passwords(resources: Resources) -> Passwords:
    auth = resources.settings.auth
    return Passwords(auth.hashing_threads, auth.hashing_queue, resources.telemetry.tracer)


def _keys(resources: Resources) -> KeyRing:
    folder = resources.settings.auth.keys
    if not folder:
        raise ConfigError("auth.keys: not set; it names the folder with the signing keys")
    keys = KeyRing(Path(folder))
    if not keys.keys():
        raise ConfigError(f"auth.keys: {folder} holds no usable <kid>.jwk")
    return keys


def _servicers(resources: Resources) -> list[Registration]:
    auth = resources.settings.auth
    keys = _keys(resources)
    api = UserApi(Accounts(resources.pool), _passwords(resources), Tokens(auth, keys), keys, auth.token_ttl)
    return [(add_UserServiceServicer_to_server, api)]


async def make_admin(resources: Resources) -> None:
    """Make the admin's account as the settings name it, or leave it where they name none."""
    auth = resources.settings.auth
    if auth.admin_email and auth.admin_password:
        hashed = await _passwords(resources).hash(auth.admin_password)
        await Accounts(resources.pool).make_admin(new_id(), auth.admin_email, hashed)


app = create_service("user", database=True, prepare=make_admin, rpc=_servicers)
