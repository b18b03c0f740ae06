"""Tests against real back-ends: only for `make test-stack`, because building those takes minutes.

What could not be run is said at the end and makes the run fail: not run is not passed.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from tests.backends.build import COMMANDS, NotBuiltError, built
from tests.stack.prometheus import Prometheus, running

# Taken out: services that a test starts would refuse it as a setting that there is not.
WANTED = os.environ.pop("GOSHOP_STACK", "")
NOT_RUN = 1
reasons = pytest.StashKey[dict[str, str]]()


def pytest_ignore_collect() -> bool | None:
    return None if WANTED else True


def pytest_configure(config: pytest.Config) -> None:
    config.stash[reasons] = {}


@pytest.fixture(scope="session")
def promtool(pytestconfig: pytest.Config) -> Path:
    """The promtool of tests/backends/prometheus, or the one that $PROMTOOL names."""
    return _command("promtool", pytestconfig)


@pytest.fixture(scope="session")
def prometheus(pytestconfig: pytest.Config) -> Path:
    """The prometheus of tests/backends/prometheus, or the one that $PROMETHEUS names."""
    return _command("prometheus", pytestconfig)


@pytest.fixture
def start_prometheus(prometheus: Path, tmp_path: Path) -> Iterator[Callable[..., Prometheus]]:
    """Start a Prometheus: `start_prometheus(config, history=…, flags=…)` as `tests.stack.prometheus.running` has them.

    It is ready when the call returns, and ended with the test.
    """
    number = count()
    with ExitStack() as servers:

        def start(*arguments: Any, **keywords: Any) -> Prometheus:
            folder = tmp_path / f"prometheus-{next(number)}"
            return servers.enter_context(running(prometheus, folder, *arguments, **keywords))

        yield start


def _command(name: str, config: pytest.Config) -> Path:
    if named := os.environ.get(name.upper()):
        return Path(named)
    if name in config.stash[reasons]:
        pytest.skip(f"{name} was not built: {config.stash[reasons][name]}")
    return built(name)


def pytest_collection_finish(session: pytest.Session) -> None:
    """Build what the tests ask for before the first of them: the minutes that this takes are not in a test's time-out."""
    asked = {name for item in session.items for name in getattr(item, "fixturenames", ())}
    for name in sorted(asked & COMMANDS.keys()):
        if session.config.option.collectonly or os.environ.get(name.upper()):
            continue
        try:
            built(name)
        except NotBuiltError as error:
            session.config.stash[reasons][name] = str(error)


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    if session.config.stash[reasons] and exitstatus == pytest.ExitCode.OK:
        session.exitstatus = NOT_RUN


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    for name, reason in config.stash[reasons].items():
        terminalreporter.section(f"NOT RUN: {name}", red=True)
        terminalreporter.line(reason)
