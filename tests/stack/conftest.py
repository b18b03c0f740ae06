"""Tests against real back-ends: only for `make test-stack`, because building those takes minutes.

What could not be run is said at the end and makes the run fail: not run is not passed.
"""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.backends.build import NotBuiltError, built

WANTED = "GOSHOP_STACK"
NOT_RUN = 1
reasons = pytest.StashKey[dict[str, str]]()


def pytest_ignore_collect() -> bool | None:
    return None if os.environ.get(WANTED) else True


def pytest_configure(config: pytest.Config) -> None:
    config.stash[reasons] = {}


@pytest.fixture(scope="session")
def promtool(pytestconfig: pytest.Config) -> Iterator[Path]:
    """The promtool of tests/backends/promtool, or the one that $PROMTOOL names."""
    named = os.environ.get("PROMTOOL")
    if named:
        yield Path(named)
        return
    try:
        yield built("promtool")
    except NotBuiltError as error:
        pytestconfig.stash[reasons]["promtool"] = str(error)
        pytest.skip(f"promtool was not built: {error}")


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    if session.config.stash[reasons] and exitstatus == pytest.ExitCode.OK:
        session.exitstatus = NOT_RUN


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    for name, reason in config.stash[reasons].items():
        terminalreporter.section(f"NOT RUN: {name}", red=True)
        terminalreporter.line(reason)
