"""`goshop slo rules`: rules on stdout, or everything below a folder; exit 0 or 2."""

from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from goshop.cli import main

GOLDEN = Path(__file__).parents[1] / "slo" / "generation" / "golden"


@pytest.fixture
def rules():
    return lambda *arguments: CliRunner().invoke(main, ["slo", "rules", *map(str, arguments)])


def test_the_rules_of_the_shop_are_printed_as_one_file(rules):
    done = rules()
    names = {group["name"] for group in yaml.safe_load(done.stdout)["groups"]}
    assert done.exit_code == 0
    assert len(names) == 10 * 4
    assert "sloth-slo-alerts-payment-latency" in names


def test_a_folder_gets_rules_thresholds_and_the_table_and_stdout_their_paths(rules, tmp_path):
    done = rules(GOLDEN / "release-gate.yaml", "--out", tmp_path / "out")
    names = ["rules/shop.yaml", "k6/release.json", "slo.md"]
    assert (done.exit_code, done.stdout.split()) == (0, [str(tmp_path / "out" / name) for name in names])
    assert all(
        (tmp_path / "out" / name).read_bytes() == (GOLDEN / "release-gate" / name).read_bytes() for name in names
    )


def test_links_from_the_root_of_a_site_get_the_site(rules):
    sites = ["--runbooks", "https://docs.example.org/", "--dashboards", "https://grafana.example.org"]
    printed = rules(GOLDEN / "bad-events.yaml", *sites).stdout
    assert 'runbook_url: "https://docs.example.org/docs/runbooks.md#gateway-availability"' in printed
    assert 'dashboard_url: "https://grafana.example.org/d/goshop-service?var-service=gateway"' in printed


def test_a_wrong_specification_leads_to_no_rules(rules, tmp_path):
    path = tmp_path / "spec.yaml"
    path.write_text("apiVersion: openslo/v1\nkind: Service\nmetadata: {name: Shop}\n")
    done = rules(path, "--out", tmp_path / "out")
    assert (done.exit_code, done.stdout) == (2, "")
    assert f"{path}:3:18: expected a name" in done.stderr
    assert not (tmp_path / "out").exists()


def test_a_folder_that_can_not_be_written_is_said_in_a_line(rules, tmp_path):
    (tmp_path / "file").touch()
    done = rules("--out", tmp_path / "file" / "out")
    assert (done.exit_code, len(done.stderr.splitlines())) == (2, 1)


def test_a_route_that_k6_can_not_name_is_said(rules, tmp_path):
    text = (GOLDEN / "release-gate.yaml").read_text().replace("products/{id}", "products/{id},{id}")
    path = tmp_path / "spec.yaml"
    path.write_text(text.replace("../../../../loadtests/k6/shop.js", str(path)))
    done = rules(path, "--out", tmp_path / "out")
    assert done.exit_code == 2
    assert "a threshold of k6 can't name a route with a comma" in done.stderr
