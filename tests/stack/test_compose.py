"""compose/ as the programs themselves read it: Docker Compose, promtool, amtool."""

import json
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
COMPOSE = ROOT / "compose"
ALERTMANAGER = COMPOSE / "alertmanager.yaml"


def run(*command: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*map(str, command)], capture_output=True, text=True, check=False, timeout=30)


def test_the_configuration_is_one_that_amtool_takes(amtool):
    done = run(amtool, "check-config", ALERTMANAGER)
    assert done.returncode == 0, done.stderr + done.stdout


@pytest.mark.parametrize(("severity", "receiver"), [("page", "on-call"), ("ticket", "team")])
def test_a_severity_is_routed_to_whom_it_concerns(amtool, severity, receiver):
    done = run(amtool, "config", "routes", "test", f"--config.file={ALERTMANAGER}", f"sloth_severity={severity}")
    assert (done.returncode, done.stdout.strip()) == (0, receiver)


def test_prometheus_takes_its_configuration_with_the_committed_rules(promtool, tmp_path):
    (tmp_path / "prometheus.yaml").write_text((COMPOSE / "prometheus.yaml").read_text())
    (tmp_path / "rules").symlink_to(ROOT / "slo" / "generated" / "rules")
    done = run(promtool, "check", "config", tmp_path / "prometheus.yaml")
    assert done.returncode == 0, done.stderr + done.stdout
    assert "SUCCESS: 5 rule files found" in done.stdout


@pytest.fixture(scope="module")
def resolved(docker_compose_command, tmp_path_factory):
    """What Docker Compose makes of the files, by profile."""
    passwords = "".join(
        f"GOSHOP_STACK_{name}_PASSWORD={name.lower()}-secret\n"
        for name in ("POSTGRES", "USER", "PRODUCT", "ORDER", "PAYMENT", "REDIS", "ADMIN", "GRAFANA")
    )
    environment = tmp_path_factory.mktemp("compose") / "env"
    environment.write_text(passwords)

    def config(profile: str) -> dict[str, dict[str, object]]:
        files = ("--project-directory", COMPOSE, "--file", COMPOSE / "compose.yaml", "--env-file", environment)
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


def test_docker_compose_publishes_on_loopback_only(resolved):
    ports = [port for service in resolved("full").values() for port in service.get("ports", [])]  # type: ignore[attr-defined]
    assert len(ports) == 7
    assert {port["host_ip"] for port in ports} == {"127.0.0.1"}


def test_docker_compose_puts_the_passwords_where_they_are_asked_for(resolved):
    environment = resolved("full")["product"]["environment"]
    assert environment["GOSHOP_DB__PASSWORD"] == "product-secret"  # type: ignore[index]
    assert environment["GOSHOP_REDIS__URL"] == "redis://:redis-secret@redis:6379/0"  # type: ignore[index]
