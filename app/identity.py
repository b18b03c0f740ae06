"""Who is calling: found out once at the gateway, carried to every service as metadata, asked for by owner checks."""

from contextvars import ContextVar, Token
from typing import Final

import msgspec

from app.errors import Forbidden, NotFound, Unauthenticated

CUSTOMER: Final = "customer"
ADMIN: Final = "admin"
SYSTEM: Final = "system"


class Caller(msgspec.Struct, frozen=True):
    """A subject and its role; the subject is empty for nobody and for the shop itself."""

    subject: str = ""
    role: str = ""


NOBODY: Final = Caller()
THE_SHOP: Final = Caller(role=SYSTEM)

_caller: ContextVar[Caller] = ContextVar("caller", default=NOBODY)


def current() -> Caller:
    """Return who is calling."""
    return _caller.get()


def enter(caller: Caller) -> Token[Caller]:
    """Set who is calling for the rest of this task's context."""
    return _caller.set(caller)


def leave(token: Token[Caller]) -> None:
    """Undo `enter`."""
    _caller.reset(token)


def require_login() -> Caller:
    """Return the caller, or raise `Unauthenticated` for nobody."""
    caller = _caller.get()
    if not caller.role:
        raise Unauthenticated("this needs a login")
    return caller


def require_admin() -> None:
    """Raise `Forbidden` unless the caller is an admin or the shop itself."""
    if require_login().role not in {ADMIN, SYSTEM}:
        raise Forbidden("this needs the admin role")


def require_owner(user_id: str, what: str) -> None:
    """Raise `NotFound` unless the thing is the caller's: its existence is nobody else's business."""
    caller = require_login()
    if caller.role not in {ADMIN, SYSTEM} and caller.subject != user_id:
        raise NotFound(f"there is no such {what}")
