"""Tests against real back-ends: only for `make test-stack`, because building those takes minutes.

What could not be run is said at the end and makes the run fail: not run is not passed. What nobody can run without more than this
machine (Tempo, Grafana) is said, too.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from tests.backends.build import COMMANDS, NotBuiltError, NotFetchedError, built
from tests.stack import jaeger as jaegers
from tests.stack import loki as lokis
from tests.stack import observed as observing
from tests.stack import promtail as promtails
from tests.stack.backend import Backend
from tests.stack.jaeger import Jaeger
from tests.stack.loki import Loki
from tests.stack.not_run import ELSEWHERE
from tests.stack.observed import Observed
from tests.stack.prometheus import Prometheus, running
from tests.stack.shop_story import Story, told

# Taken out: services that a test starts would refuse it as a setting that there is not.
WANTED = os.environ.pop("GOSHOP_STACK", "")
# With this value what could not be fetched is said, and no failure; what does not build is one all the same.
REACHABLE = "reachable"
NOT_RUN = 1
reasons = pytest.StashKey[dict[str, NotBuiltError]]()
made = pytest.StashKey[dict[str, Path]]()


def pytest_ignore_collect() -> bool | None:
    return None if WANTED else True


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers", "asks_for(*commands): commands of tests.backends that a test asks for as it runs"
    )
    config.addinivalue_line("markers", "docker: needs a Docker Engine, pulls images and builds one: minutes")
    config.stash[reasons] = {}
    config.stash[made] = {}
    config.stash[ELSEWHERE] = {}


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


@pytest.fixture(scope="session")
def alertmanager_command(pytestconfig: pytest.Config) -> Path:
    """The alertmanager of tests/backends/alertmanager, or the one that $ALERTMANAGER names."""
    return _command("alertmanager", pytestconfig)


@pytest.fixture(scope="session")
def amtool(pytestconfig: pytest.Config) -> Path:
    """The amtool of tests/backends/alertmanager, or the one that $AMTOOL names."""
    return _command("amtool", pytestconfig)


@pytest.fixture(scope="session")
def docker_compose_command(pytestconfig: pytest.Config) -> Path:
    """The docker-compose of tests/backends/compose, or the one that $DOCKER_COMPOSE names."""
    return _command("docker-compose", pytestconfig)


@pytest.fixture(scope="session")
def loki_command(pytestconfig: pytest.Config) -> Path:
    """The loki of tests/backends/loki, or the one that $LOKI names."""
    return _command("loki", pytestconfig)


@pytest.fixture(scope="session")
def promtail_command(pytestconfig: pytest.Config) -> Path:
    """The promtail of tests/backends/promtail, or the one that $PROMTAIL names."""
    return _command("promtail", pytestconfig)


@pytest.fixture(scope="session")
def jaeger_command(pytestconfig: pytest.Config) -> Path:
    """The all-in-one of tests/backends/jaeger, or the one that $JAEGER names."""
    return _command("jaeger", pytestconfig)


@pytest.fixture(scope="session")
def loki(loki_command: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Loki]:
    """A Loki for all tests, on loki/loki.yaml: everybody's lines are in it, so ask for those of your own trace ids."""
    with lokis.running(loki_command, tmp_path_factory.mktemp("loki") / "server") as server:
        yield server


@pytest.fixture(scope="session")
def jaeger(jaeger_command: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Jaeger]:
    """A Jaeger for all tests; `jaeger.traces_endpoint` takes spans."""
    with jaegers.running(jaeger_command, tmp_path_factory.mktemp("jaeger") / "server") as server:
        yield server


@pytest.fixture(scope="session")
def promtail(
    promtail_command: Path, loki: Loki, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[Path], Backend]]:
    """Send a folder of `<service>.log` files to `loki`: `promtail(folder)`, on loki/promtail.yaml, until the session ends."""
    with ExitStack() as servers:

        def start(logs: Path, **environ: str) -> Backend:
            folder = tmp_path_factory.mktemp("promtail") / "server"
            return servers.enter_context(promtails.running(promtail_command, folder, logs, loki.url, **environ))

        yield start


@pytest.fixture(scope="session")
def observed(
    loki: Loki, promtail: Callable[[Path], Backend], jaeger: Jaeger, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Observed]:
    """A healthy shop for all tests, whose lines go to `loki` and whose spans go to `jaeger`."""
    with observing.running(tmp_path_factory.mktemp("observed"), loki, promtail, jaeger) as found:
        yield found


@pytest.fixture(scope="session")
def story(prometheus: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    """A shop under load, calm and then failing, that a Prometheus watches: one for all tests that ask what it has seen."""
    with told(prometheus, tmp_path_factory.mktemp("story")) as found:
        yield found


@pytest.fixture
def start_loki(loki_command: Path, tmp_path: Path) -> Iterator[Callable[..., Loki]]:
    """Start a Loki of one's own, with variables of loki/loki.yaml if given; ended with the test."""
    number = count()
    with ExitStack() as servers:

        def start(**environ: str) -> Loki:
            return servers.enter_context(lokis.running(loki_command, tmp_path / f"loki-{next(number)}", **environ))

        yield start


@pytest.fixture
def start_promtail(promtail_command: Path, tmp_path: Path) -> Iterator[Callable[..., Backend]]:
    """Start a Promtail of one's own: `start_promtail(logs, loki.url, VARIABLE=…)`; ended with the test."""
    number = count()
    with ExitStack() as servers:

        def start(logs: Path, loki_url: str, **environ: str) -> Backend:
            folder = tmp_path / f"promtail-{next(number)}"
            return servers.enter_context(promtails.running(promtail_command, folder, logs, loki_url, **environ))

        yield start


def _command(name: str, config: pytest.Config) -> Path:
    if named := _named(name):
        return Path(named)
    if name in config.stash[reasons]:
        pytest.skip(f"{name} was not built: {config.stash[reasons][name]}")
    # Never here: it takes minutes, and a test has a time-out.
    assert name in config.stash[made], f"mark the test: @pytest.mark.asks_for({name!r})"
    return config.stash[made][name]


def _named(name: str) -> str | None:
    return os.environ.get(name.upper().replace("-", "_"))


def _asked(item: pytest.Item) -> set[str]:
    """Return the commands that a test asks for: by its fixtures, or by a mark where it chooses among them as it runs."""
    fixtures = {name.removesuffix("_command").replace("_", "-") for name in getattr(item, "fixturenames", ())}
    marked = {name for mark in item.iter_markers("asks_for") for name in mark.args}
    assert marked <= COMMANDS.keys()
    return (fixtures | marked) & COMMANDS.keys()


def pytest_collection_finish(session: pytest.Session) -> None:
    """Build what the tests ask for before the first of them: the minutes that this takes are in no test's time-out."""
    for name in sorted({name for item in session.items for name in _asked(item)}):
        if session.config.option.collectonly or _named(name):
            continue
        try:
            session.config.stash[made][name] = built(name)
        except NotBuiltError as error:
            session.config.stash[reasons][name] = error


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    failed = [
        error
        for error in session.config.stash[reasons].values()
        if not (WANTED == REACHABLE and isinstance(error, NotFetchedError))
    ]
    if failed and exitstatus == pytest.ExitCode.OK:
        session.exitstatus = NOT_RUN


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    not_built = {name: str(error) for name, error in config.stash[reasons].items()}
    for name, reason in (not_built | config.stash[ELSEWHERE]).items():
        terminalreporter.section(f"NOT RUN: {name}", red=True)
        terminalreporter.line(reason)
