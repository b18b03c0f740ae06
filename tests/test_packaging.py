"""The wheel: what is installed works without the source tree around it."""

import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from app.config import ENVIRONMENTS

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as an installation makes it: what pyproject.toml puts into the wheel, and nothing else."""
    site = tmp_path_factory.mktemp("site")
    wheel = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]
    contents = {package: package for package in wheel["packages"]} | wheel["force-include"]
    for source, target in contents.items():
        if (ROOT / source).is_dir():
            shutil.copytree(ROOT / source, site / target, ignore=shutil.ignore_patterns("__pycache__"))
    return site


def run(site: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    environ = {**os.environ, **variables, "PYTHONPATH": str(site)}
    # -P: neither the folder that the tests run in nor the source tree is looked into.
    command = [sys.executable, "-P", *arguments]
    return subprocess.run(command, cwd=site.parent, env=environ, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_an_installed_shop_brings_its_settings_along(installed: Path, environment: str) -> None:
    code = f"from app import config; config.load({environment!r}, environ={{}}); print(config.DEFAULT_FOLDER)"
    done = run(installed, "-c", code)
    assert (done.stderr, done.stdout.strip()) == ("", str(installed / "app" / "settings"))


def test_an_installed_service_reads_them_before_it_is_told_more(installed: Path) -> None:
    # A mistake in a variable is found when the file has been read.
    done = run(installed, "-m", "goshop", "serve", "gateway", "--env=prod", GOSHOP_DB__TIEMOUT="1")
    assert (done.returncode, done.stderr) == (2, "goshop: GOSHOP_DB__TIEMOUT: db.tiemout: unknown key\n")


def test_nothing_is_installed_beside_the_packages_of_the_shop(installed: Path) -> None:
    assert {path.name for path in installed.iterdir()} <= {
        "app",
        "dashboards",
        "goshop",
        "loadtests",
        "slo",
        "telemetry",
    }
