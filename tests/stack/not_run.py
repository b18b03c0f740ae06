"""Tests that need what cannot be had on this machine: they are skipped, and the end of the run says so aloud."""

from typing import Final, NoReturn

import pytest

ELSEWHERE: Final = pytest.StashKey[dict[str, str]]()


def say_not_run(config: pytest.Config, what: str, reason: str) -> NoReturn:
    """Skip a test, and have `what` and the reason said at the end; the run does not fail for it."""
    config.stash[ELSEWHERE][what] = reason
    pytest.skip(f"NOT RUN: {what}: {reason}")
