"""docs/gate.md shows what really works: its script, its specification, its options."""

import re
from pathlib import Path

import pytest

from goshop.cli import main
from loadtests import SMOKE, plan_script
from slo.openslo.loading import load_gate
from slo.verdict import EXITS

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "gate.md").read_text()


def block(language: str) -> str:
    found = re.search(rf"^```{language}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    assert found is not None
    return found[1]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "load.js").write_text(block("js"))
    (tmp_path / "gate.yaml").write_text(block("yaml"))
    return tmp_path


def test_the_specification_is_sound_and_names_the_script(folder: Path) -> None:
    gate = load_gate(folder / "gate.yaml")
    assert gate.script == (folder / "load.js").resolve()
    assert [(goal.name, goal.target) for goal in gate.objectives] == [("p99-latency", 0.3), ("throughput", 40.0)]


def test_the_specification_of_a_k6_elsewhere_is_sound(folder: Path) -> None:
    (folder / "k6.yaml").write_text(block("yml"))
    gate = load_gate(folder / "k6.yaml")
    assert [(goal.name, goal.slo, goal.budget) for goal in gate.objectives] == [
        ("slow", "fast", 0.01),
        ("errors", "answered", 0.01),
        ("throughput", "", None),
    ]


def test_the_script_is_judged_for_a_minute_after_its_warm_up(folder: Path) -> None:
    planned = plan_script(folder / "load.js", SMOKE, "http://127.0.0.1:1", folder / "k6")
    assert (planned.name, planned.warmup, planned.seconds) == ("load", 5.0, 60.0)


def test_every_option_and_exit_code_of_the_page_is_the_commands() -> None:
    known = {name for option in main.commands["gate"].params for name in (*option.opts, *option.secondary_opts)}
    ours = re.sub(r"`k6 run [^`]+`", "", PAGE)
    assert set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", ours)) <= known
    assert {int(code) for code in re.findall(r"(?:exit |[:,] )(\d) [a-z]", PAGE)} <= {2, *EXITS.values()}


def test_every_file_of_the_page_is_there() -> None:
    links = [link.partition("#")[0] for link in re.findall(r"\]\(([^)]+)\)", PAGE) if "://" not in link]
    paths = re.findall(r"`((?:tests|slo)/[\w./]+\.\w+)`", PAGE)
    assert [link for link in links if not (ROOT / "docs" / link).exists()] == []
    assert [path for path in paths if not (ROOT / path).exists()] == []
