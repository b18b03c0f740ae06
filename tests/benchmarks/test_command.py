"""`make bench`: every benchmark is reached by its name, and the list in the README is the one there is."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import PROGRAMS
from benchmarks.chosen import NAMES

ROOT = Path(__file__).parents[2]


def bench(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "benchmarks", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_program_with_options_of_its_own_is_reached_by_its_name(name: str) -> None:
    done = bench(name, "--help")
    assert (done.returncode, done.stderr) == (0, "")
    assert re.match(rf"[Uu]sage: (python -m benchmarks\.)?{name}", done.stdout)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (
            ["nothing"],
            "there is no benchmark 'nothing'; there are telemetry, judging, slo, gate, labels, soak, specification",
        ),
        (["--quick", "gate"], "gate comes first, its own options behind it"),
    ],
)
def test_a_benchmark_that_is_not_there_is_refused_with_those_that_are(arguments: list[str], said: str) -> None:
    done = bench(*arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr


def test_the_readme_names_every_benchmark() -> None:
    named = re.findall(r'make bench ARGS="?([a-z]+)', (ROOT / "benchmarks" / "README.md").read_text())
    assert set(named) == {*NAMES, *PROGRAMS}
