"""The joints between metrics, traces and logs: what the data sources ask for is what our own series, spans and lines say."""

import asyncio
import json
import re
from typing import Any

import pytest
import yaml
from prometheus_client import CollectorRegistry
from prometheus_client.openmetrics.exposition import CONTENT_TYPE_LATEST

from telemetry import TelemetryMiddleware
from telemetry import conventions as c
from telemetry.exposition import metrics_response
from telemetry.testing import capture_spans, fresh_telemetry
from tests.compose.model import COMPOSE, ROOT, SHOP, datasource, promtail, promtail_stages, read, services


class Told:
    """What one request told: its access line, its span, its metrics."""

    line: str
    span: Any
    metrics: str


@pytest.fixture(scope="module")
def told() -> Told:
    """A request through the telemetry layer, as every service has it."""

    async def application(_scope: Any, _receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"[]"})

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        del message

    registry, told = CollectorRegistry(), Told()
    telemetry, logs = fresh_telemetry("gateway", registry=registry, namespace=c.NAMESPACE)
    scope = {"type": "http", "method": "GET", "path": "/api/products", "headers": [], "query_string": b""}
    with capture_spans() as spans:
        asyncio.run(TelemetryMiddleware(application, telemetry)(scope, receive, send))
    (told.span,) = spans
    told.line = logs.getvalue().splitlines()[-1]
    told.metrics = metrics_response(CONTENT_TYPE_LATEST, registry)[0].decode()
    return told


def test_every_joint_leads_to_a_data_source_that_there_is():
    found = yaml.safe_load((COMPOSE / "grafana" / "datasources" / "datasources.yaml").read_text())["datasources"]
    uids = {each["uid"] for each in found}
    assert uids == {"prometheus", "loki", "tempo", "alertmanager"}
    named = re.findall(r'"(?:datasourceUid|alertmanagerUid)": "(\w+)"', json.dumps(found))
    assert set(named) == {"prometheus", "loki", "tempo", "alertmanager"}


def test_a_variable_of_grafana_s_is_not_taken_for_one_of_the_environment():
    text = (COMPOSE / "grafana" / "datasources" / "datasources.yaml").read_text()
    values = "\n".join(line for line in text.splitlines() if not line.lstrip().startswith("#"))
    assert "$$" in values
    assert re.findall(r"(?<!\$)\$(?:\$\$)*(?!\$)", values) == []


def test_a_data_source_is_asked_where_its_server_listens():
    for uid in ("prometheus", "loki", "tempo", "alertmanager"):
        _, host, port = re.split(r"://|:", datasource(uid)["url"])
        assert f"127.0.0.1:{port}:{port}" in services()[host]["ports"]


def test_an_exemplar_leads_to_the_trace_that_the_request_had(told):
    (exemplar,) = set(re.findall(r'# \{(\w+)="(\w+)"', told.metrics))
    labels = [each["name"] for each in datasource("prometheus")["jsonData"]["exemplarTraceIdDestinations"]]
    assert exemplar[0] in labels
    assert exemplar[1] == told.span.trace_id


def test_a_log_line_leads_to_its_trace_by_what_promtail_keeps_of_it(told):
    (field,) = datasource("loki")["jsonData"]["derivedFields"]
    assert field["matcherType"] == "label"
    kept = {key for stage in promtail_stages("structured_metadata") for key in stage}
    assert [key for key in kept if re.fullmatch(field["matcherRegex"], key)] == [c.LOG_TRACE_ID]
    expressions = [stage["expression"] for stage in promtail_stages("regex")]
    (taken,) = [
        found for text in expressions if f"?P<{c.LOG_TRACE_ID}>" in text and (found := re.search(text, told.line))
    ]
    assert taken[c.LOG_TRACE_ID] == told.span.trace_id


def test_a_span_leads_to_its_log_lines_by_labels_that_promtail_sets():
    asked = datasource("tempo")["jsonData"]["tracesToLogsV2"]
    (target,) = promtail()["static_configs"]
    selector = re.match(r'\{job="([\w-]+)"\}', asked["query"])
    assert selector is not None
    assert selector[1] == target["labels"]["job"]
    assert f'{c.LOG_TRACE_ID}="$${{__span.traceId}}"' in asked["query"]


def test_a_span_leads_to_metrics_by_attributes_of_ours_and_labels_that_tempo_makes():
    tags = {each["key"]: each["value"] for each in datasource("tempo")["jsonData"]["tracesToMetrics"]["tags"]}
    spanmetrics = read(COMPOSE / "tempo.yaml")["metrics_generator"]["processor"]["span_metrics"]
    # `service` is a label of every span metric; the others are dimensions, their dots written as underscores.
    assert tags == {c.SERVICE_NAME: "service"} | {each: each.replace(".", "_") for each in spanmetrics["dimensions"]}
    assert set(spanmetrics["dimensions"]) == {c.HTTP_ROUTE, c.RPC_METHOD, c.DB_QUERY_SUMMARY}


def test_tempo_writes_its_metrics_with_exemplars_to_the_prometheus_that_takes_them():
    (target,) = read(COMPOSE / "tempo.yaml")["metrics_generator"]["storage"]["remote_write"]
    assert target == {"url": f"{datasource('prometheus')['url']}/api/v1/write", "send_exemplars": True}
    flags = services()["prometheus"]["command"]
    assert "--web.enable-remote-write-receiver" in flags
    assert any("exemplar-storage" in flag for flag in flags)


def test_everything_that_tempo_writes_lies_on_its_volume():
    text = (COMPOSE / "tempo.yaml").read_text()
    paths = re.findall(r"(?:path|dir): (/\S+?)\}?$", text, re.MULTILINE)
    assert len(paths) == 7
    assert [path for path in paths if not path.startswith("/var/tempo/")] == []
    assert "tempo:/var/tempo" in services()["tempo"]["volumes"]


def scraped(profile: str = "full") -> dict[str, dict[str, str]]:
    jobs = read(COMPOSE / "prometheus.yaml")["scrape_configs"]
    assert (
        "./watched/${GOSHOP_STACK_WATCHED:-full}.yaml:/etc/prometheus/watched.yaml:ro"
        in services()["prometheus"]["volumes"]
    )
    by_profile = yaml.safe_load((COMPOSE / "watched" / f"{profile}.yaml").read_text())
    assert [job.get("file_sd_configs") for job in jobs] == [None, None, [{"files": ["watched.yaml"]}]]
    return {
        config["targets"][0]: {"job": job["job_name"], **config["labels"]}
        for job in jobs
        for config in job.get("static_configs", by_profile)
    }


def test_every_service_is_scraped_under_the_labels_that_rules_and_dashboards_select_by():
    shop = {target: labels for target, labels in scraped().items() if labels["job"] == "goshop"}
    assert shop == {f"{name}:9080": {"job": "goshop", "service": name, "environment": "staging"} for name in SHOP}
    assert {services()[name]["command"][-1] for name in SHOP} == {"--env=staging"}


@pytest.mark.parametrize("profile", ["full", "minimal"])
def test_everything_that_watches_is_watched_and_nothing_that_is_left_out(profile):
    watching = {labels["service"] for labels in scraped(profile).values() if labels["job"] != "goshop"}
    assert watching == services(profile).keys() - {*SHOP, "prepare", "postgres", "redis"}


def test_the_rules_that_prometheus_reads_are_the_committed_ones_unless_the_stack_derives_its_own():
    mounts = services()["prometheus"]["volumes"]
    assert "${GOSHOP_STACK_RULES:-../slo/generated/rules}:/etc/prometheus/rules:ro" in mounts
    assert read(COMPOSE / "prometheus.yaml")["rule_files"] == ["rules/*.yaml", "stack-rules.yaml"]
    assert "./stack-rules.yaml:/etc/prometheus/stack-rules.yaml:ro" in mounts


def test_prometheus_keeps_as_much_as_the_error_budgets_look_back_over():
    (retention,) = [
        flag for flag in services()["prometheus"]["command"] if flag.startswith("--storage.tsdb.retention.time")
    ]
    assert int(retention.partition("=")[2].removesuffix("d")) >= 31


def seconds(text: str) -> int:
    return int(text[:-1]) * {"s": 1, "m": 60, "h": 3600}[text[-1]]


def test_alertmanager_waits_for_two_evaluations_before_it_tells_anybody():
    evaluation = read(COMPOSE / "prometheus.yaml")["global"]["evaluation_interval"]
    assert seconds(read(COMPOSE / "alertmanager.yaml")["route"]["group_wait"]) >= 2 * seconds(evaluation)


def test_alertmanager_s_receivers_are_those_that_the_specification_notifies():
    names = {each["name"] for each in read(COMPOSE / "alertmanager.yaml")["receivers"]}
    rules = [rule for path in (ROOT / "slo" / "generated" / "rules").glob("*.yaml") for rule in _rules(read(path))]
    assert {rule["labels"]["notify"] for rule in rules if "alert" in rule} == names


def _rules(document: dict[str, Any]) -> list[dict[str, Any]]:
    return [rule for group in document["groups"] for rule in group["rules"]]


def test_nothing_that_alertmanager_needs_is_a_secret():
    assert not re.search(r"^[^#]*(url|token|password|key)", (COMPOSE / "alertmanager.yaml").read_text(), re.MULTILINE)


def test_grafana_shows_what_is_generated_from_where_it_is_mounted():
    (provider,) = read(COMPOSE / "grafana" / "dashboards" / "goshop.yaml")["providers"]
    assert f"../dashboards/generated:{provider['options']['path']}:ro" in services()["grafana"]["volumes"]
    home = services()["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
    folder, _, name = home.rpartition("/")
    assert folder == provider["options"]["path"]
    assert (ROOT / "dashboards" / "generated" / name).is_file()
