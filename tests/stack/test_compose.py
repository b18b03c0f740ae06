"""compose/ as the programs themselves read it: Docker Compose, promtool, amtool."""

import json
import subprocess
from pathlib import Path

import httpx
import pytest
import yaml

from scripts import stack_files
from tests.compose.model import services

ROOT = Path(__file__).parents[2]
COMPOSE = ROOT / "compose"
ALERTMANAGER = COMPOSE / "alertmanager.yaml"


def run(*command: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*map(str, command)], capture_output=True, text=True, check=False, timeout=30)


def test_the_configuration_is_one_that_amtool_takes(amtool):
    done = run(amtool, "check-config", ALERTMANAGER)
    assert done.returncode == 0, done.stderr + done.stdout


def notified() -> set[tuple[str, str]]:
    """Whom an alert of ours notifies, and how urgent it is: every pair in the rules that are shipped."""
    files = [*(ROOT / "slo" / "generated" / "rules").glob("*.yaml"), COMPOSE / "stack-rules.yaml"]
    groups = [group for path in files for group in yaml.safe_load(path.read_text())["groups"]]
    alerts = [rule["labels"] for group in groups for rule in group["rules"] if "alert" in rule]
    return {(labels["notify"], labels["sloth_severity"]) for labels in alerts}


@pytest.mark.parametrize(
    ("notify", "severity", "receivers"),
    [
        *((notify, severity, notify) for notify, severity in sorted(notified())),
        ("team", "page", "team"),
        ("on-call", "ticket", "on-call"),
        ("team,on-call", "page", "on-call,team"),
        ("", "page", "on-call"),
        ("somebody", "page", "on-call"),
        ("somebody", "ticket", "team"),
        ("", "ticket", "team"),
    ],
)
def test_an_alert_is_routed_to_whom_it_names(amtool, notify, severity, receivers):
    labels = (f'notify="{notify}"', f"sloth_severity={severity}")
    done = run(amtool, "config", "routes", "test", f"--config.file={ALERTMANAGER}", *labels)
    assert (done.returncode, ",".join(sorted(done.stdout.strip().split(",")))) == (0, receivers)


def test_prometheus_takes_its_configuration_with_the_committed_rules(promtool, tmp_path):
    (tmp_path / "prometheus.yaml").write_text((COMPOSE / "prometheus.yaml").read_text())
    (tmp_path / "rules").symlink_to(ROOT / "slo" / "generated" / "rules")
    (tmp_path / "stack-rules.yaml").symlink_to(COMPOSE / "stack-rules.yaml")
    (tmp_path / "watched.yaml").symlink_to(COMPOSE / "watched" / "full.yaml")
    done = run(promtool, "check", "config", tmp_path / "prometheus.yaml")
    assert done.returncode == 0, done.stderr + done.stdout
    assert "SUCCESS: 6 rule files found" in done.stdout


def test_prometheus_shows_the_page_that_an_alert_links_to(start_prometheus, tmp_path):
    stack_files.write_pages(tmp_path / "pages")
    (flag,) = [each for each in services()["prometheus"]["command"] if each.startswith("--web.user-assets=")]
    assert flag.endswith("/pages")
    server = start_prometheus(flags=(f"--web.user-assets={tmp_path / 'pages'}",))
    for link in ("docs/runbooks/user-availability.md#outage", "docs/runbooks/stack.md#rules-fail"):
        # As a browser asks: the section is its own affair.
        page, _, section = f"{server.url}/user/{link}".partition("#")
        answer = httpx.get(page, follow_redirects=True, trust_env=False)
        assert (answer.status_code, answer.headers["content-type"]) == (200, "text/html; charset=utf-8")
        assert f' id="{section}">' in answer.text


@pytest.fixture(scope="module")
def resolved(docker_compose_command, tmp_path_factory):
    """What Docker Compose makes of the files, by profile."""
    passwords = "".join(
        f"GOSHOP_STACK_{name}_PASSWORD={name.lower()}-secret\n"
        for name in ("POSTGRES", "USER", "PRODUCT", "ORDER", "PAYMENT", "REDIS", "ADMIN", "GRAFANA")
    )
    environment = tmp_path_factory.mktemp("compose") / "env"
    environment.write_text(passwords)

    def config(profile: str, *more: object) -> dict[str, dict[str, object]]:
        files = ("--project-directory", COMPOSE, "--file", COMPOSE / "compose.yaml", *more, "--env-file", environment)
        done = run(docker_compose_command, *files, "--profile", profile, "config", "--format", "json")
        assert (done.returncode, done.stderr) == (0, "")
        found = json.loads(done.stdout)["services"]
        assert isinstance(found, dict)
        return found

    return config


@pytest.mark.parametrize(("profile", "most"), [("full", 2.5e9), ("minimal", 1.5e9)])
def test_docker_compose_itself_adds_the_limits_up_to_what_was_promised(resolved, profile, most):
    services = resolved(profile)
    assert len(services) == {"full": 14, "minimal": 11}[profile]
    assert sum(int(str(service["mem_limit"])) for service in services.values()) <= most


def test_digests_take_the_place_of_tags_and_of_nothing_else(resolved, tmp_path):
    pinned = {name: (image, f"sha256:{'0' * 64}") for name, image in stack_files.images().items()}
    (tmp_path / "override.yaml").write_text(stack_files.override(pinned))
    before = resolved("full")
    after = resolved("full", "--file", tmp_path / "override.yaml")
    for name, service in before.items():
        image, digest = pinned.get(name, (service["image"], ""))
        assert after[name] == service | {"image": f"{image}@{digest}" if digest else image}


def test_docker_compose_publishes_on_loopback_only(resolved):
    ports = [port for service in resolved("full").values() for port in service.get("ports", [])]  # type: ignore[attr-defined]
    assert len(ports) == 7
    assert {port["host_ip"] for port in ports} == {"127.0.0.1"}


def test_docker_compose_puts_the_passwords_where_they_are_asked_for(resolved):
    environment = resolved("full")["product"]["environment"]
    assert environment["GOSHOP_DB__PASSWORD"] == "product-secret"  # type: ignore[index]
    assert environment["GOSHOP_REDIS__URL"] == "redis://:redis-secret@redis:6379/0"  # type: ignore[index]
