"""scripts/stack.py: what it makes, and what it makes of what Docker Compose says."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from goshop.ports import reserve
from scripts import stack, stack_files
from tests.compose.model import COMPOSE, FILES, ROOT, SHOP, read, services

RUNNING = {"Service": "user", "State": "running", "Health": "healthy", "ExitCode": 0}


def run(*arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "scripts" / "stack.py"), *arguments]
    return subprocess.run(command, env=os.environ | environ, capture_output=True, text=True, check=False)


def test_every_variable_that_the_compose_files_ask_for_is_made():
    asked = {name for path in FILES for name in re.findall(r"\$\{(\w+):\?", path.read_text())}
    assert asked == set(stack_files.PASSWORDS)


def test_passwords_are_long_different_and_made_once():
    text = stack_files.environment("")
    made = dict(line.split("=", 1) for line in text.splitlines())
    passwords = [made[name] for name in stack_files.PASSWORDS]
    assert len(set(passwords)) == len(passwords)
    assert all(re.fullmatch(r"[\w-]{32}", password) for password in passwords)
    assert stack_files.environment(text) == text


def test_what_a_person_has_written_stays():
    before = "GOSHOP_STACK_GRAFANA_PASSWORD=my own\n# a comment\n"
    text = stack_files.environment(before)
    assert text.startswith(before)
    assert text.count("GOSHOP_STACK_GRAFANA_PASSWORD") == 1


def test_only_its_owner_reads_the_file_also_where_it_was_open_before(tmp_path: Path):
    path = tmp_path / ".env"
    path.write_text("COMPOSE_PROFILES=minimal\n")
    path.chmod(0o644)
    assert stack_files.write_environment(path)["COMPOSE_PROFILES"] == "minimal"
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.read_text().splitlines()[0] == "COMPOSE_PROFILES=minimal"


def test_nothing_that_is_made_here_gets_into_the_repository():
    made = [
        f"compose/{name}"
        for name in (".env", ".rules/user.yaml", ".pages/docs/index.html", ".seed.json", "compose.override.yaml")
    ]
    done = subprocess.run(["git", "check-ignore", *made], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.stdout.split() == made


def test_the_rules_of_the_stack_lead_to_its_own_grafana_and_to_a_section_of_a_page_that_prometheus_shows(
    tmp_path: Path,
):
    rules, pages = tmp_path / "rules", tmp_path / "pages"
    stack_files.write_rules(rules)
    stack_files.write_pages(pages)
    assert {path.name for path in rules.iterdir()} == {
        path.name for path in (ROOT / "slo" / "generated" / "rules").iterdir()
    }
    text = "".join(path.read_text() for path in (*rules.iterdir(), COMPOSE / "stack-rules.yaml"))
    assert set(re.findall(r'dashboard_url: "?(.+?)/d/', text)) == {stack_files.GRAFANA}
    links = set(re.findall(r'runbook_url: "?([^"\n]+)', text))
    assert len(links) > 50
    for link in links:
        page, _, section = link.removeprefix(f"{stack_files.RUNBOOKS}/").partition("#")
        assert f' id="{section}">' in (pages / page / "index.html").read_text()
    flags, mounts = services()["prometheus"]["command"], services()["prometheus"]["volumes"]
    assert "--web.user-assets=/etc/prometheus/pages" in flags
    assert "${GOSHOP_STACK_PAGES:-../docs}:/etc/prometheus/pages:ro" in mounts


def test_a_page_shows_all_that_is_written_and_its_links_lead_to_pages_beside_it(tmp_path: Path):
    stack_files.write_pages(tmp_path)
    for path in tmp_path.rglob("index.html"):
        html = path.read_text()
        assert not re.search(r"\*\*|^```|^\|", html, re.MULTILINE)
        for link in re.findall(r'href="([^"]+)"', html):
            page, _, section = link.partition("#")
            if "://" not in link:
                assert page.endswith("/")
                there = (path.parent / page / "index.html").read_text()
                assert not section or f' id="{section}">' in there


def test_what_is_made_replaces_what_was_made_and_others_may_read_it(tmp_path: Path):
    (tmp_path / "gone.yaml").write_text("groups: []")
    (tmp_path / "gone").mkdir()
    before, at = os.umask(0o077), tmp_path.stat().st_ino
    try:
        stack_files.write_rules(tmp_path)
    finally:
        os.umask(before)
    assert not [path for path in tmp_path.iterdir() if path.name.startswith("gone")]
    # Mounted as it is: another folder of that name would not be seen.
    assert tmp_path.stat().st_ino == at
    assert {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {0o644}
    assert tmp_path.stat().st_mode & 0o777 == 0o755


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A copy of what stack.py needs, to be changed."""
    for name in (
        "compose",
        "loki",
        "scripts",
        "slo",
        "telemetry",
        "loadtests",
        "docs/runbooks",
        "dashboards/generated",
    ):
        ignored = shutil.ignore_patterns("__pycache__", ".env", ".rules", ".pages", "*.so", "compose.override.yaml")
        shutil.copytree(ROOT / name, tmp_path / name, ignore=ignored)
    return tmp_path


def made(checkout: Path) -> dict[str, str]:
    """What .env says after `stack.py secrets`."""
    command = [sys.executable, str(checkout / "scripts" / "stack.py"), "secrets"]
    subprocess.run(command, cwd=checkout, check=True)
    lines = (checkout / "compose" / ".env").read_text().splitlines()
    return dict(line.split("=", 1) for line in lines)


def test_a_change_of_what_a_server_reads_makes_a_new_container_of_this_server_only(checkout):
    before = made(checkout)
    readers = {name for name in before if name.endswith("_READS")}
    labels = {found for path in FILES for found in re.findall(r'goshop.reads: "\$\{(\w+):-\}"', path.read_text())}
    assert readers == labels
    assert len(readers) == 6
    assert made(checkout) == before
    with (checkout / "loki" / "loki.yaml").open("a") as file:
        file.write("# changed\n")
    after = made(checkout)
    assert {name for name in after if after[name] != before[name]} == {"GOSHOP_STACK_LOKI_READS"}
    spec = checkout / "slo" / "specs" / "checkout.yaml"
    spec.write_text(spec.read_text().replace("targetRef: on-call", "targetRef: team"))
    last = made(checkout)
    assert {name for name in last if last[name] != after[name]} == {"GOSHOP_STACK_PROMETHEUS_READS"}


def test_what_other_users_may_not_read_is_said_before_anything_starts(checkout):
    (checkout / "loki" / "loki.yaml").chmod(0o600)
    (checkout / "compose" / "grafana" / "datasources").chmod(0o700)
    done = subprocess.run(
        [sys.executable, str(checkout / "scripts" / "stack.py"), "secrets"], capture_output=True, text=True, check=False
    )
    assert done.returncode == stack.FAILED
    assert done.stderr == (
        "stack: containers run as users who may not read everything (umask?): "
        "cd compose; chmod -R a+rX ../loki/loki.yaml ./grafana/datasources\n"
    )


def test_a_profile_is_written_down_so_that_the_next_command_means_the_same():
    text = stack_files.environment("COMPOSE_PROFILES=full\n", stack_files.choice("minimal"))
    assert text.count("COMPOSE_PROFILES") == 1
    said = dict(line.split("=", 1) for line in text.splitlines())
    assert said["COMPOSE_PROFILES"] == said["GOSHOP_STACK_WATCHED"] == "minimal"
    assert said["GOSHOP_STACK_TRACES"] == "none"
    again = stack_files.environment(text, stack_files.choice("full"))
    assert "GOSHOP_STACK_TRACES=otlp\n" in again
    assert "minimal" not in again


def test_the_first_searches_last_for_two_scrapes_without_which_there_is_no_rate():
    scraped = read(COMPOSE / "prometheus.yaml")["global"]["scrape_interval"]
    assert 2 * int(scraped.removesuffix("s")) < stack.LOOKS * stack.BETWEEN_SECONDS


def test_what_only_the_full_stack_has_is_stopped_for_the_minimal_one():
    assert set(stack.ONLY_FULL) == services().keys() - services("minimal").keys()


def test_the_release_that_telemetry_names_is_the_commit_that_is_built():
    described = subprocess.run(
        ["git", "describe", "--always", "--dirty", "--tags"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert stack_files.choice("full").get("GOSHOP_STACK_RELEASE", "") == described.stdout.strip()
    for name in SHOP:
        assert services()[name]["environment"]["GOSHOP_RELEASE"] == "${GOSHOP_STACK_RELEASE:-0.1.0}"


def test_digests_are_of_images_that_a_registry_has():
    assert set(stack_files.images()) == services().keys() - {*SHOP, "prepare"}
    text = stack_files.override({"redis": ("valkey/valkey:9.1.2", f"sha256:{'0' * 64}")})
    assert yaml.safe_load(text) == {"services": {"redis": {"image": f"valkey/valkey:9.1.2@sha256:{'0' * 64}"}}}


def test_without_an_image_nothing_is_pinned_and_what_was_there_stays(checkout):
    override = checkout / "compose" / "compose.override.yaml"
    command = [sys.executable, str(checkout / "scripts" / "stack.py"), "digests"]
    for before in (None, "services: {}\n"):
        if before is not None:
            override.write_text(before)
        done = subprocess.run(
            command, env=os.environ | {"DOCKER_HOST": "tcp://127.0.0.1:9"}, capture_output=True, check=False
        )
        assert done.returncode == stack.FAILED
        assert (override.read_text() if override.exists() else None) == before


def test_a_shop_that_takes_no_goods_is_a_sentence_and_leaves_no_token_behind(tmp_path: Path):
    data = tmp_path / "seed.json"
    data.write_text("a token")
    with reserve(1) as (port,), pytest.raises(stack_files.StackError, match=r"takes no goods .*ConnectError"):
        stack.stock("secret", f"http://127.0.0.1:{port}", data)
    assert not data.exists()


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
    said = stack.welcome(dict.fromkeys(stack_files.PASSWORDS, "x"), full=True)
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
