"""The shop of this checkout beside one of its own revisions, set up from its locks and brought up by its own code."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from goshop.processes import wait_until
from goshop.revision import resolve
from slo.verdict import read_verdict
from tests.goshop.plain import write_specification

ROOT = Path(__file__).parents[2]
# One request in forty: P99 is then the delay, and the pool of connections is long enough.
FAULT = "product.search=delay:900ms@5%"
# Set-up, three shops, seven loads of four seconds on each side; on two cores that others use, too.
MOST_SECONDS = 600.0

pytestmark = pytest.mark.timeout(900)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The gate's folder: the later comparison finds the revision set up."""
    return tmp_path_factory.mktemp("baseline") / "goshop"


@pytest.fixture(scope="module")
def specification(root: Path) -> Path:
    """The shop's gate without what this fault would miss by itself: a release that failed is not compared."""
    path = write_specification(root.parent / "gate.yaml")
    path.write_text(path.read_text().replace("    - name: p99-latency\n      sloRef: gateway-latency\n", ""))
    return path


@pytest.fixture(scope="module")
def commit() -> str:
    """The revision that is checked out."""
    return resolve("HEAD")


@pytest.fixture
def gate(root: Path, specification: Path, commit: str) -> Iterator[subprocess.Popen[str]]:
    # Four seconds of load in place of 35.
    command = [sys.executable, "-m", "tests.goshop.shortened", "0.1", "gate", str(specification)]
    places = ["--dir", str(root), "--out", str(root.parent), "--history", "none"]
    asked = ["--baseline", commit[:12], "--pairs", "6", "--fault", FAULT]
    with subprocess.Popen(
        [*command, *places, *asked], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        yield process
        process.kill()


def processes_below(root: Path) -> list[str]:
    """Return the command lines of all processes that know of a folder."""
    known = os.fsencode(root)
    lines = [
        _command_line(entry)
        for entry in Path("/proc").iterdir()
        if entry.name.isdigit() and int(entry.name) != os.getpid()
    ]
    return [line.decode(errors="replace") for line in lines if known in line]


def _command_line(entry: Path) -> bytes:
    try:
        return (entry / "cmdline").read_bytes()
    except OSError:
        return b""


def test_a_shop_that_became_slower_is_a_regression_against_its_revision(
    gate: subprocess.Popen[str], root: Path, commit: str
) -> None:
    said, talk = gate.communicate(timeout=MOST_SECONDS)
    verdict = read_verdict(root.parent / "verdict.json")
    assert (gate.returncode, verdict.verdict) == (4, "regression"), said + talk
    assert verdict.baseline is not None
    assert (verdict.baseline.name, verdict.baseline.commit, len(verdict.baseline.pairs)) == (commit[:12], commit, 6)
    assert verdict.faults == (FAULT,)
    assert "not a release verdict" in said
    assert processes_below(root) == []
    assert list((root / "runs").glob("*/state/*")) == []


def test_who_is_interrupted_in_the_middle_of_a_pair_leaves_nothing_running(
    gate: subprocess.Popen[str], root: Path
) -> None:
    assert gate.stderr is not None
    said = []
    for line in gate.stderr:
        said.append(line)
        if "pair 1 of 6, candidate" in line:
            break
    assert "pair 1 of 6, candidate" in said[-1], "".join(said)
    assert [line for line in processes_below(root) if "goshop\0up" in line]
    gate.send_signal(signal.SIGINT)
    assert gate.wait(120) == 128 + signal.SIGINT
    assert wait_until(lambda: not processes_below(root), 10), processes_below(root)
    assert list((root / "runs").glob("*/state/*")) == []
