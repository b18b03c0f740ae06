"""Accounts and log-ins at the edge."""

from typing import Annotated, Any

import msgspec
from litestar import Request, get, post
from litestar.params import JSONBody

from app.gateway.access import LOGGED_IN
from app.gateway.backends import backends
from app.gateway.bodies import Body, Email, Name, Password, PathId
from app.gateway.documentation import problems
from app.gateway.login_throttle import logins
from app.ids import parse_id
from app.rpc.user.v1 import user_pb2


class NewUser(Body, frozen=True, kw_only=True):
    """Who registers; an account without a password cannot log in."""

    name: Name
    email: Email
    age: Annotated[int, msgspec.Meta(ge=1, le=150)] | None = None
    password: Password | None = None


class Credentials(Body, frozen=True, kw_only=True):
    """What somebody logs in with."""

    email: Email
    password: Annotated[str, msgspec.Meta(max_length=256)]


class User(msgspec.Struct, frozen=True):
    """An account, as its owner and the admin see it."""

    id: str
    name: str
    age: int | None
    email: str
    role: str
    created_at: str


class AccessToken(msgspec.Struct, frozen=True):
    """A bearer token (RFC 6750); `expires_in` seconds from now it ends."""

    access_token: str
    token_type: str
    expires_in: int


@post("/api/users", status_code=200, tags=["users"], responses=problems(400, 401, 409, body=True))
async def create_user(request: Request[Any, Any, Any], data: JSONBody[NewUser]) -> User:
    """Register a customer."""
    services = backends(request)
    message = user_pb2.CreateUserRequest(
        name=data.name, email=data.email, age=data.age or 0, password=data.password or ""
    )
    return _user(await services.call(services.users.CreateUser, message))


@post("/api/login", status_code=200, tags=["users"], responses=problems(400, 401, body=True))
async def login(request: Request[Any, Any, Any], data: JSONBody[Credentials]) -> AccessToken:
    """Exchange an e-mail address and a password for an access token."""
    services = backends(request)
    message = user_pb2.LoginRequest(email=data.email, password=data.password)
    async with logins(request).attempt(data.email, request.client.host if request.client else ""):
        answer = await services.call(services.users.Login, message)
    return AccessToken(answer.access_token, "Bearer", answer.expires_in)


@get("/api/users/{id:str}", tags=["users"], responses=problems(400, 401, 404), **LOGGED_IN)
async def get_user(request: Request[Any, Any, Any], user_id: PathId) -> User:
    """Show an account to its owner or the admin."""
    services = backends(request)
    return _user(await services.call(services.users.GetUser, user_pb2.GetUserRequest(user_id=parse_id(user_id))))


def _user(message: user_pb2.User) -> User:
    return User(message.id, message.name, message.age or None, message.email, message.role, message.created_at)


ROUTES = (create_user, login, get_user)
