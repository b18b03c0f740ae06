"""What the documents say is what the code does."""

import re
import subprocess
import sys
from pathlib import Path

import click
import pytest

from goshop.cli import main
from slo.verdict import EXITS

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()


def test_every_command_of_the_readme_exists_and_none_is_left_out() -> None:
    rows = re.findall(r"^\| `goshop ([a-z]+(?: [a-z]+)?)", README, re.MULTILINE)
    assert sorted(rows) == sorted(commands())


def commands() -> dict[str, click.Command]:
    """Return every command by its words; groups are none."""
    found: dict[str, click.Command] = {}
    for name, command in main.commands.items():
        inner = command.commands if isinstance(command, click.Group) else {}
        found |= {f"{name} {word}": each for word, each in inner.items()} or {name: command}
    return found


def test_every_option_of_the_readme_exists() -> None:
    for command, options in re.findall(r"^\| `goshop ([a-z]+(?: [a-z]+)?)([^`]*)`", README, re.MULTILINE):
        known = {name for parameter in commands()[command].params for name in parameter.opts}
        assert set(re.findall(r"--[a-z]+", options)) <= known


def test_every_exit_code_of_the_readme_is_one_of_the_gate() -> None:
    codes = {int(code) for code in re.findall(r"^\| (\d) \|", README, re.MULTILINE)}
    assert codes - {2} <= set(EXITS.values())


@pytest.mark.parametrize("document", sorted(ROOT.glob("*.md")), ids=lambda p: p.name)
def test_every_file_that_a_document_names_is_there(document: Path) -> None:
    text = document.read_text()
    links = [link for link in re.findall(r"\]\(([^)#]+)\)", text) if "://" not in link]
    paths = re.findall(r"`((?:app|goshop|slo|loadtests|telemetry|config|proto)/[\w./]+\.\w+)`", text)
    assert [name for name in (*links, *paths) if not (ROOT / name).exists()] == []


@pytest.mark.parametrize("target", re.findall(r"^make (\w+)$", README, re.MULTILINE))
def test_every_make_command_of_the_readme_is_a_target(target: str) -> None:
    done = subprocess.run(["make", "-n", target], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_make_help_lists_every_target() -> None:
    listed = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    phony = re.search(r"^\.PHONY: (.+)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert phony is not None
    assert set(re.findall(r"^  make ([\w-]+)", listed, re.MULTILINE)) == set(phony[1].split())


def test_generated_files_are_what_the_generators_make() -> None:
    command = [sys.executable, "scripts/generate.py", "--check"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
