"""The shop of an earlier revision, brought up by that revision's own `goshop up` as a child of ours.

Where it is, and who its admin is, it says on stdout (`goshop.up.WELCOME`), in words that have been the same since there is
a `goshop up`: this is the one thing that every revision has in common.
"""

import re
import shutil
import signal
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from app import config
from goshop.processes import Child, StartError, how_it_ended, spawn, stop, wait_until
from goshop.revision import Checkout, own_environment

# The servers' first start and the services' (goshop.services.READY_SECONDS), on a machine that is busy.
_UP_SECONDS: Final = 150.0
# Its services drain and flush, then its servers end.
_STOP_SECONDS: Final = 60.0
_URL: Final = re.compile(r"^GoShop is up: (\S+)$", re.MULTILINE)
_ADMIN: Final = re.compile(r"^ +admin +(\S+) +password (\S+)$", re.MULTILINE)
_SPANS: Final = re.compile(r"^ +spans +(/.+)$", re.MULTILINE)
_LAST_WORDS: Final = "Ctrl-C stops it."
_WELCOME: Final = re.compile(rf"^GoShop is up: .*?(?:{re.escape(_LAST_WORDS)}|\Z)", re.DOTALL | re.MULTILINE)
_LAST_LINES: Final = 8


@dataclass(frozen=True, slots=True)
class RevisionShop:
    """A shop that runs by its own code: its public address, its admin (email, password), its folder of spans."""

    url: str
    admin: tuple[str, str]
    spans: Path
    process: Child
    log: Path

    def ended(self) -> str:
        """Say how it ended without being asked; "" while it runs."""
        code = self.process.poll()
        return "" if code is None else f"its shop {how_it_ended(code)}:\n{_last_words(self.log)}"


@contextmanager
def revision_shop(checkout: Checkout, root: Path, log: Path, environ: Mapping[str, str]) -> Iterator[RevisionShop]:
    """Bring up the shop of a checkout that was set up; its runs are kept below `root`, `log` gets what it says.

    Raises `StartError` with its last words when it does not come up. Main thread only.
    """
    command: list[str | Path] = [checkout.python, "-P", "-m", "goshop", "up", "--dir", root.absolute()]
    # -P: a `goshop` in the folder that we happen to be called from is not the one that is meant.
    env = {**_understood(own_environment(environ)), "PYTHONPATH": str(checkout.files)}
    try:
        # It has children of its own to stop.
        process = spawn(command, log=log, env=env, on_parent_death=signal.SIGTERM)
    except OSError as error:
        raise StartError(
            f"its shop cannot be started: {checkout.python}: {error.strerror}; remove {checkout.files.parent} to have it set up again"
        ) from None
    spans = None
    try:
        shop = _await_welcome(process, log)
        spans = shop.spans
        yield shop
    finally:
        stop(process, grace=_STOP_SECONDS)
        if spans is not None:
            shutil.rmtree(spans, ignore_errors=True)


def _understood(environ: Mapping[str, str]) -> dict[str, str]:
    """Leave out what begins like a setting and is none: revisions before 4da3235 did not start with any such variable."""
    return {name: value for name, value in environ.items() if not name.startswith(config.PREFIX) or _is_setting(name)}


def _is_setting(variable: str) -> bool:
    return variable.removeprefix(config.PREFIX).lower().split("__")[0] in config.Settings.__struct_fields__


def _await_welcome(process: Child, log: Path) -> RevisionShop:
    there = wait_until(lambda: process.poll() is not None or _LAST_WORDS in _said(log), _UP_SECONDS)
    if (code := process.poll()) is not None:
        raise StartError(f"its shop {how_it_ended(code)} before it was up:\n{_last_words(log)}")
    shop = read_welcome(_said(log), process, log) if there else None
    if shop is None:
        raise StartError(f"its shop did not say within {_UP_SECONDS:.0f} s where it is:\n{_last_words(log)}")
    return shop


def read_welcome(said: str, process: Child, log: Path) -> RevisionShop | None:
    """Return the shop that a welcome is of; None when it is no welcome."""
    url, admin, spans = _URL.search(said), _ADMIN.search(said), _SPANS.search(said)
    if not url or not admin or not spans:
        return None
    return RevisionShop(url[1], (admin[1], admin[2]), Path(spans[1]), process, log)


def _last_words(log: Path) -> str:
    """Return the end of what it said, without its welcome: the admin's password is in there, and reports are public."""
    lines = _WELCOME.sub("", _said(log)).splitlines()
    return "\n".join([line for line in lines if line.strip()][-_LAST_LINES:])


def _said(log: Path) -> str:
    return log.read_text(encoding="utf-8", errors="replace") if log.exists() else ""
