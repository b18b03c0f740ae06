"""What the launcher's tests share: a run's folder, stand-in services, and a look at what is left of a run."""

import contextlib
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from click.testing import CliRunner

from goshop.cli import main
from goshop.run import RunFolder
from tests.goshop.beside import run_all as run_all_beside
from tests.goshop.plain import answers, run_all
from tests.loadtests.stand_in import StandIn, served


@pytest.fixture
def run(state_folder):
    return RunFolder.create(state_folder / "goshop")


@pytest.fixture
def standin():
    """Make the command of a stand-in service, see standin.py."""

    def command(name, mode=""):
        return [sys.executable, str(Path(__file__).with_name("standin.py")), name, mode]

    return command


@pytest.fixture
def named(postgres_server, valkey_server):
    """Environment variables that name servers which run already: where the shop's own ones are not what a test is about."""
    return {
        **os.environ,
        "GOSHOP_DB__HOST": postgres_server.host,
        "GOSHOP_DB__USER": postgres_server.user,
        "GOSHOP_DB__PASSWORD": postgres_server.password,
        "GOSHOP_REDIS__URL": valkey_server.url,
    }


@pytest.fixture(scope="session")
def commands(tmp_path_factory):
    """Every run of `goshop gate --url` that tests look at, made once; those with a baseline wait for most of their time."""
    with served(StandIn(answers)) as service, ThreadPoolExecutor(2) as pool:
        plain = pool.submit(run_all, service.url, tmp_path_factory.mktemp("plain"))
        beside = pool.submit(run_all_beside, tmp_path_factory.mktemp("beside"))
        return plain.result(), beside.result()


@pytest.fixture(scope="session")
def plain_runs(commands):
    """The runs of `tests.goshop.plain`."""
    return commands[0]


@pytest.fixture(scope="session")
def beside_runs(commands):
    """The runs of `tests.goshop.beside`."""
    return commands[1]


@pytest.fixture(scope="session")
def processes_of():
    """Find every process of a run by its command line, environment or working folder (PostgreSQL overwrites the first two)."""

    def find(path):
        return {
            entry.name for entry in Path("/proc").iterdir() if entry.name.isdigit() and _belongs(entry, os.fspath(path))
        }

    return find


def _belongs(entry, path):
    if int(entry.name) == os.getpid():
        return False
    with contextlib.suppress(OSError):
        said = (entry / "cmdline").read_bytes() + (entry / "environ").read_bytes()
        return path.encode() in said or str((entry / "cwd").readlink()).startswith(path)
    return False


@pytest.fixture
def trace():
    """Run `goshop trace` with an environment that names no store."""

    def run(*arguments: str, **environ: str):
        named = {"TEMPO_URL": None, "JAEGER_URL": None, "LOKI_URL": None, **environ}
        return CliRunner().invoke(main, ["trace", *arguments], env=named)

    return run
