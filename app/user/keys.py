"""The keys that sign access tokens: a folder with one private JWK per file, `<kid>.jwk` (RFC 7517, RFC 8037).

The newest by name signs, all of them verify. Adding a file rotates, removing one revokes; neither needs a restart.
"""

import json
import logging
import os
import re
import secrets
import stat
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from joserfc.errors import JoseError
from joserfc.jwk import OKPKey

# The fully specified name of EdDSA with Ed25519 (RFC 9864); the polymorphic name "EdDSA" is deprecated there.
ALGORITHM: Final = "Ed25519"
SUFFIX: Final = ".jwk"
_KID: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")
_TOO_OPEN: Final = stat.S_IRWXO | stat.S_IWGRP

logger = logging.getLogger(__name__)


class UnusableKey(Exception):
    """A key file cannot be used; the message says why."""


def rotate(folder: Path) -> str:
    """Add a fresh key to `folder`, which is made if need be, and return its kid; from now on it signs."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    # Sorts by time: the newest name is the newest key.
    kid = f"{datetime.now(UTC):%Y%m%dT%H%M%S.%fZ}-{secrets.token_hex(4)}"
    key = OKPKey.generate_key("Ed25519", {"kid": kid, "use": "sig", "alg": ALGORITHM})
    _write(folder / f"{kid}{SUFFIX}", json.dumps(key.as_dict(private=True)))
    return kid


def _write(path: Path, text: str) -> None:
    """Write a private file that appears under its name only when it is whole."""
    unfinished = path.with_name(f".{path.name}.new")
    descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
        file.flush()
        os.fsync(descriptor)
    unfinished.rename(path)


class KeyRing:
    """The keys of a folder, read again when the folder changes."""

    __slots__ = ("_folder", "_keys", "_seen")

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._seen: object = None
        self._keys: dict[str, OKPKey] = {}

    def keys(self) -> dict[str, OKPKey]:
        """Return every usable key by kid, oldest first; the last ones seen while the folder cannot be read.

        Only a listing revokes: a secret that is being mounted anew, or a process out of descriptors, must not log
        everybody out.
        """
        try:
            seen = self._look()
            if seen != self._seen:
                self._keys, self._seen = self._read(), seen
                logger.info("signing keys: %s", ", ".join(self._keys) or "none")
        except OSError:
            logger.exception("the folder of signing keys cannot be read; the last keys stay in use")
        return self._keys

    def public(self) -> str:
        """Return the public halves as a JWK set."""
        return json.dumps({"keys": [key.as_dict(private=False) for key in self.keys().values()]})

    def _look(self) -> tuple[tuple[str, int, int], ...]:
        with os.scandir(self._folder) as entries:
            found = [(e.name, e.stat()) for e in entries if e.name.endswith(SUFFIX)]
        return tuple(sorted((name, status.st_mtime_ns, status.st_ctime_ns) for name, status in found))

    def _read(self) -> dict[str, OKPKey]:
        keys = {}
        for path in sorted(self._folder.glob(f"*{SUFFIX}")):
            try:
                keys[path.stem] = read_key(path)
            except (UnusableKey, OSError):
                # The other keys still work; a broken new file must not stop the shop.
                logger.exception("%s is not used", path)
        return keys


def read_key(path: Path) -> OKPKey:
    """Read a private Ed25519 key whose kid is its file's name; raises `UnusableKey`."""
    if path.stat().st_mode & _TOO_OPEN:
        raise UnusableKey("others may read or write it: chmod 600")
    try:
        key = OKPKey.import_key(json.loads(path.read_text()))
    except (ValueError, KeyError, TypeError, AttributeError, JoseError) as error:
        raise UnusableKey(f"not an OKP key: {type(error).__name__}") from None
    said = key.as_dict(private=False)
    if not key.is_private or said.get("crv") != "Ed25519" or said.get("alg", ALGORITHM) != ALGORITHM:
        raise UnusableKey("not a private Ed25519 key")
    if said.get("kid") != path.stem or not _KID.fullmatch(path.stem):
        raise UnusableKey("its kid is not its file's name")
    return key
