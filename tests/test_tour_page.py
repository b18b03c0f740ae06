"""docs/tour.md: what it shows is there, and every command is one that works; what needs no Docker is run by tests/stack/test_tour.py."""

import re
import shlex
import subprocess
from urllib.parse import urlsplit

import click
import pytest

from goshop.cli import main
from scripts import tour_pictures
from tests.compose.model import services
from tests.dashboards.boards import BOARDS
from tests.test_runbooks import RULES, alerts
from tests.tour import PAGE, ROOT, WAYS, blocks, way

LINES = [line for heading in WAYS for block in blocks(heading) for line in block.splitlines()]


@pytest.mark.parametrize("heading", WAYS)
def test_a_shell_reads_every_block(heading: str) -> None:
    done = subprocess.run(["bash", "-n"], input="\n".join(blocks(heading)), capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("line", [line for line in LINES if re.match(r"goshop \w", line)])
def test_a_command_of_ours_takes_what_it_is_given(line: str) -> None:
    words = shlex.split(line[line.index("goshop ") :].partition(" | ")[0])[1:]
    found: click.Command = main
    while isinstance(found, click.Group):
        found = found.commands[words.pop(0)]
    # Parsed, not run.
    found.make_context(found.name, words)


@pytest.mark.parametrize("line", [line for line in LINES if line.startswith("make ")])
def test_a_target_is_there(line: str) -> None:
    done = subprocess.run(["make", "-n", *shlex.split(line)[1:]], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("line", [line for line in LINES if line.startswith("docker compose ")])
def test_a_command_of_docker_compose_is_about_services_that_there_are(line: str) -> None:
    step, *words = shlex.split(line)[2:]
    assert step in {"exec", "stop", "up"}
    name = next(word for word in words if not word.startswith("--"))
    assert name in services()


def test_every_address_is_one_that_is_published() -> None:
    published = {port.split(":")[1] for each in services().values() for port in each.get("ports", [])}
    ports = {str(urlsplit(address).port) for address in re.findall(r"http://127\.0\.0\.1:\d+", PAGE.read_text())}
    assert ports
    assert ports <= published


def test_what_it_counts_and_names_is_so() -> None:
    assert len(BOARDS) == 9, "docs/tour.md says so"
    assert RULES
    assert set(re.findall(r"`?(\w+Availability\w+)`?", PAGE.read_text())) <= alerts().keys()
    page = (ROOT / "docs" / "runbooks" / "order-availability.md").read_text()
    assert [line for line in blocks("With Docker") if "promtool" in line and line.strip() not in page] == []


def test_every_file_and_picture_is_there() -> None:
    links = [link.partition("#") for link in re.findall(r"\]\(([^)]+)\)", PAGE.read_text()) if "://" not in link]
    assert [path for path, _, _ in links if path and not (PAGE.parent / path).is_file()] == []
    headings = {heading.lower().replace(" ", "-") for heading in WAYS}
    assert {anchor for path, _, anchor in links if not path} <= headings
    named = re.findall(r"`(tests/[\w/.]+\.py)`", PAGE.read_text())
    assert [path for path in named if not (ROOT / path).is_file()] == []


def test_pictures_are_pictures_and_small() -> None:
    pictures = re.findall(r"!\[[^\]]+\]\(([^)]+)\)", way("Without Docker"))
    assert len(pictures) == 2
    for picture in pictures:
        data = (PAGE.parent / picture).read_bytes()
        assert data.startswith(b"\x89PNG\r\n")
        assert len(data) < 200_000


def test_pictures_are_of_the_run_that_is_told_of() -> None:
    assert {f"pictures/{name}.png" for name in tour_pictures.PARTS} == set(
        re.findall(r"pictures/[\w-]+\.png", PAGE.read_text())
    )
    assert f'--fault "{tour_pictures.FAULT}"' in blocks("Without Docker")[0]


def test_a_picture_begins_at_its_heading() -> None:
    report = "<head></head><body><h1>All</h1><h2>One <small>more</small></h2><p>1</p><h2>Two</h2><p>2</p></body>"
    assert tour_pictures.beginning_at(report, "Two") == "<head></head><body><main><h2>Two</h2><p>2</p></body>"
    with pytest.raises(ValueError, match="Three"):
        tour_pictures.beginning_at(report, "Three")
