"""The whole chain on a real shop: what it counts, what Prometheus records of it by the committed rules, and whom that wakes."""

import subprocess
from collections import Counter
from contextlib import contextmanager

import httpx
import pytest

from tests.stack.prometheus import eventually
from tests.stack.shop_story import RULES
from tests.stack.time_lapse import scenario, series

pytestmark = pytest.mark.timeout(300)

RECORDED = '{__name__=~"slo:.*|sloth_slo_info"}'
# What is counted 5 minutes at a time, and what is made of that: nothing of it is there after two.
OF_FIVE_MINUTES = {
    "slo:sli_bad:increase5m",
    "slo:sli_total:increase5m",
    "slo:sli_error:ratio_rate30d",
    "slo:period_burn_rate:ratio",
    "slo:period_error_budget_remaining:ratio",
}


def alerts(story):
    return "ALERTS" if story.calm else 'ALERTS{alertname!~".*Latency.*"}'


def test_every_rule_is_loaded_and_evaluated_without_an_error(story):
    rules = story.server.rules()
    recorded = [rule["name"] for rule in rules if rule["type"] == "recording"]
    assert sorted(recorded) == sorted(record.name for record in story.records())
    assert {(rule["name"], rule.get("lastError")) for rule in rules if rule["health"] == "err"} == set()
    assert {rule["name"] for rule in rules if rule["health"] != "ok"} <= OF_FIVE_MINUTES


def test_every_series_that_the_rules_promise_is_recorded(story):
    # As it was then: whoever asks five minutes later finds nothing of the last five.
    found = [each["metric"].items() for each in story.server.query(RECORDED, story.ended)]
    missing = [
        record
        for record in story.records()
        if not any({("__name__", record.name), *record.labels} <= labels for labels in found)
    ]
    assert {record.name for record in missing} <= OF_FIVE_MINUTES
    assert len(found) == len(story.records()) - len(missing)


def test_a_healthy_shop_wakes_nobody(story):
    seconds = int(story.calm_until - story.began)
    assert seconds > 30
    assert story.server.query(f"max_over_time({alerts(story)}[{seconds}s])", story.calm_until) == []


def test_a_failing_statement_pages_and_names_who_is_to_come(story):
    pages = story.server.query('max_over_time(ALERTS{alertstate="firing",severity="page"}[1m])', story.ended)
    fired = {(page["metric"]["alertname"], page["metric"]["notify"]) for page in pages}
    assert {("GatewayAvailabilityOutage", "on-call"), ("ProductAvailabilityOutage", "on-call")} <= fired
    # Nobody is sent to a service that has no failure.
    assert not {name for name, _ in fired if name.startswith(("OrderAvail", "PaymentAvail", "UserAvail"))}


def test_in_slow_motion_all_that_is_recorded_and_fired_is_as_promised(story, promtool, tmp_path):
    inputs = series(story.server, story.selectors(), story.began, story.ended)
    calm, whole = (int(end - story.began) for end in (story.calm_until, story.ended))
    promised = Counter(
        (f"__name__={record.name}", f"sloth_id={dict(record.labels)['sloth_id']}") for record in story.records()
    )
    paged = 'count by (alertname) (ALERTS{alertstate="firing",alertname=~"(Gateway|Product)Availability.*",severity="page"})'
    outage = (
        "GatewayAvailabilityFastBurn",
        "GatewayAvailabilityOutage",
        "ProductAvailabilityFastBurn",
        "ProductAvailabilityOutage",
    )
    path = tmp_path / "slow-motion.yaml"
    path.write_text(
        scenario(
            RULES,
            inputs,
            [
                (f"count by (__name__, sloth_id) ({RECORDED})", calm, promised),
                (f"count_over_time({alerts(story)}[1h])", calm, {}),
                (paged, whole, {(f"alertname={name}",): 1 for name in outage}),
            ],
        )
    )
    done = subprocess.run([promtool, "test", "rules", path], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr + done.stdout


def test_what_a_route_is_at_fault_for_is_there_as_0_before_it_happens(story):
    route = 'http_request_duration_seconds_count{service="gateway",method="GET",endpoint="/api/products/{id}"}'
    assert statuses_at_0(story, route, "status_code") == {"500", "503", "504"}
    method = 'rpc_server_duration_seconds_count{service="product",rpc_method="GetProduct"}'
    assert statuses_at_0(story, method, "rpc_status_code") == {"INTERNAL", "UNAVAILABLE", "DEADLINE_EXCEEDED"}


def statuses_at_0(story, series, label):
    return {each["metric"][label] for each in story.server.query(f"{series} == 0", story.calm_until)}


def test_the_first_refusals_of_a_route_are_counted(story):
    refused = 'http_request_duration_seconds_count{service="gateway",endpoint="/api/products/{id}",status_code="503"}'
    before = story.server.value(refused)
    with without(story.shop, "product"):
        url = f"{story.shop.url}/api/products/{story.product}"
        statuses = [httpx.get(url, trust_env=False, timeout=10).status_code for _ in range(5)]
    assert set(statuses) == {503}
    eventually(lambda: story.server.query(f"{refused} == {before + len(statuses)}"), 10, "they are scraped")
    assert story.server.value(f"increase({refused}[1m])") == pytest.approx(len(statuses), rel=0.1)


@contextmanager
def without(shop, service):
    """Kill a service, and leave the shop as it was to whoever asks it next."""
    shop.kill(service)
    try:
        yield
    finally:
        shop.restart(service)
        shop.arm_faults()
