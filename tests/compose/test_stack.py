"""scripts/stack.py: what it makes, and what it makes of what Docker Compose says."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from scripts import stack
from tests.compose.model import FILES, ROOT, services

RUNNING = {"Service": "user", "State": "running", "Health": "healthy", "ExitCode": 0}


def run(*arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "scripts" / "stack.py"), *arguments]
    return subprocess.run(command, env=os.environ | environ, capture_output=True, text=True, check=False)


def test_every_variable_that_the_compose_files_ask_for_is_made():
    asked = {name for path in FILES for name in re.findall(r"\$\{(\w+):\?", path.read_text())}
    assert asked == set(stack.PASSWORDS)


def test_passwords_are_long_different_and_made_once():
    text = stack.environment("")
    made = dict(line.split("=", 1) for line in text.splitlines())
    passwords = [made[name] for name in stack.PASSWORDS]
    assert len(set(passwords)) == len(passwords)
    assert all(re.fullmatch(r"[\w-]{32}", password) for password in passwords)
    assert stack.environment(text) == text


def test_what_a_person_has_written_stays():
    before = "GOSHOP_STACK_GRAFANA_PASSWORD=my own\n# a comment\n"
    text = stack.environment(before)
    assert text.startswith(before)
    assert text.count("GOSHOP_STACK_GRAFANA_PASSWORD") == 1


def test_only_its_owner_reads_the_file_also_where_it_was_open_before(tmp_path: Path):
    path = tmp_path / ".env"
    path.write_text("COMPOSE_PROFILES=minimal\n")
    path.chmod(0o644)
    assert stack.write_environment(path)["COMPOSE_PROFILES"] == "minimal"
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.read_text().splitlines()[0] == "COMPOSE_PROFILES=minimal"


def test_nothing_that_is_made_here_gets_into_the_repository():
    made = [f"compose/{name}" for name in (".env", ".rules/user.yaml", ".seed.json", "compose.override.yaml")]
    done = subprocess.run(["git", "check-ignore", *made], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.stdout.split() == made


def test_the_rules_of_the_stack_lead_to_its_own_grafana_and_to_pages_that_are_there(tmp_path: Path):
    stack.write_rules(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {
        path.name for path in (ROOT / "slo" / "generated" / "rules").iterdir()
    }
    text = "".join(path.read_text() for path in tmp_path.iterdir())
    assert set(re.findall(r'dashboard_url: "(.+?)/d/', text)) == {stack.GRAFANA}
    pages = {link.partition("#")[0] for link in re.findall(r'runbook_url: "file://(.+?)"', text)}
    assert pages
    assert [page for page in pages if not Path(page).is_file()] == []


@pytest.mark.parametrize("listed", ["a line each", "one list"])
def test_what_docker_compose_lists_is_read_in_both_its_ways(listed):
    other = RUNNING | {"Service": "prepare", "State": "exited", "Health": ""}
    rows = [RUNNING, other]
    text = json.dumps(rows) if listed == "one list" else "".join(f"{json.dumps(row)}\n" for row in rows)
    assert [(each.service, each.is_settled) for each in stack.containers(text)] == [("user", True), ("prepare", True)]


@pytest.mark.parametrize(
    ("state", "settled", "failed"),
    [
        ({"State": "running", "Health": "starting"}, False, False),
        ({"State": "running", "Health": "unhealthy"}, False, False),
        ({"State": "exited", "Health": "", "ExitCode": 1}, False, True),
        ({"State": "created", "Health": ""}, False, False),
        ({"State": "exited", "Health": "", "ExitCode": 0}, True, False),
    ],
)
def test_a_container_is_settled_when_it_is_well_or_has_done_its_work(state, settled, failed):
    (container,) = stack.containers(json.dumps(RUNNING | state))
    assert (container.is_settled, container.has_failed) == (settled, failed)


def test_every_address_that_is_printed_is_published():
    published = {port.rsplit(":", 1)[0] for service in services().values() for port in service.get("ports", [])}
    said = stack.welcome(dict.fromkeys(stack.PASSWORDS, "x"), full=True)
    addresses = set(re.findall(r"http://(127\.0\.0\.1:\d+)", said))
    assert len(addresses) == 6
    assert addresses <= published


def test_without_docker_compose_it_is_said_what_is_missing(tmp_path: Path):
    done = run("down", PATH=str(tmp_path))
    assert done.returncode == stack.FAILED
    assert done.stderr == (
        "stack: Docker Compose is not here (2.24 or newer, over Docker Engine 25): "
        "https://docs.docker.com/compose/install/\n"
    )
