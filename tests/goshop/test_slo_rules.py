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


def test_a_link_that_leads_nowhere_from_a_message_is_said(rules):
    said = rules(GOLDEN / "bad-events.yaml", "--dashboards", "https://grafana.example.org").stderr
    why = "alerts of 1 SLO have a link that begins with '/' and leads nowhere from a message"
    assert said == f"goshop: {why}: name the site with --runbooks URL\n"
    assert rules(GOLDEN / "latency.yaml").stderr == ""


def test_rules_of_a_service_that_is_gone_go_too(rules, tmp_path):
    out = tmp_path / "out"
    rules(GOLDEN / "release-gate.yaml", "--out", out)
    (out / "rules" / "by-hand.yaml").write_text("groups: []\n")
    (out / "k6" / "by-hand.json").write_text('{"http_reqs": ["count>0"]}')
    done = rules(GOLDEN / "latency.yaml", "--out", out)
    gone = [out / "k6" / "release.json", out / "rules" / "shop.yaml"]
    assert done.stderr == "".join(f"goshop: removed {path}: nothing leads to it any more\n" for path in gone)
    kept = {"rules/by-hand.yaml", "rules/product.yaml", "k6/by-hand.json", "slo.md"}
    assert {path.relative_to(out).as_posix() for path in out.rglob("*.*")} == kept


@pytest.mark.parametrize("name", ["rules/product.yaml", "slo.md"])
def test_what_was_not_made_here_is_not_replaced(rules, tmp_path, name):
    path = tmp_path / "out" / name
    path.parent.mkdir(parents=True)
    path.write_text("mine\n")
    done = rules(GOLDEN / "latency.yaml", "--out", tmp_path / "out")
    assert (done.exit_code, done.stdout, path.read_text()) == (2, "", "mine\n")
    assert f"{path} was not made by `goshop slo rules`" in done.stderr
    assert [path] == [each for each in (tmp_path / "out").rglob("*") if each.is_file()]


def test_a_prometheus_gets_no_rules_for_series_that_another_has(rules, tmp_path):
    spec, out = GOLDEN / "data-sources.yaml", tmp_path / "out"
    done = rules(spec)
    assert (done.exit_code, done.stdout) == (2, "")
    assert "several data sources, cluster, edge: write a file for each with --out" in done.stderr
    assert rules(spec, "--out", out).exit_code == 0
    for name, series in (("cluster", "rpc_server_duration_seconds_count"), ("edge", "requests_total")):
        (path,) = (out / "rules" / name).iterdir()
        assert path.name == "shop.yaml"
        assert f"absent({series}" in path.read_text()
        assert path.read_text().count("absent(") == 2


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
