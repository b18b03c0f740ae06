"""The data that a load needs, as the seeding writes it and k6 reads it. The file holds tokens, so only its owner reads it."""

import os
import time
from pathlib import Path

import msgspec

from loadtests.errors import LoadError


class SeededUser(msgspec.Struct, frozen=True):
    """An account that can log in, and is logged in until the data expires."""

    email: str
    password: str
    token: str

    def __repr__(self) -> str:
        """Show who it is and hide the secrets."""
        return f"SeededUser({self.email!r})"


class SeededOrder(msgspec.Struct, frozen=True):
    """An order and the index of the user who placed it."""

    id: str
    user: int


class SeedData(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that the journeys pick from; `expires` is the unix time at which the first token ends."""

    users: tuple[SeededUser, ...]
    products: tuple[str, ...]
    orders: tuple[SeededOrder, ...]
    words: tuple[str, ...]
    categories: tuple[str, ...]
    expires: float

    def write(self, path: Path) -> None:
        """Replace the file by one that only its owner can read; raises OSError."""
        path.unlink(missing_ok=True)
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(msgspec.json.encode(self))


def require_data(path: Path, seconds: float) -> SeedData:
    """Read the data and make sure that its tokens live for `seconds` more; raises `LoadError`."""
    try:
        data = msgspec.json.decode(path.read_bytes(), type=SeedData)
    except (OSError, msgspec.DecodeError) as error:
        raise LoadError(f"the load's data cannot be read, seed the shop first: {path}: {error}") from error
    left = data.expires - time.time()
    if left < seconds:
        raise LoadError(
            f"the tokens in {path} end in {left:.0f} s, the load takes {seconds:.0f} s: seed the shop again"
        )
    return data
