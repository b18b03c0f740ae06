"""Documents as other people write them: they load where they use the subset, and are told where they don't.

In our words after what is published: the examples of OpenSLO and of its SDK, a payments API whose rules Sloth makes, a
workflow engine behind Mimir, Terraform's OpenSLO provider.
"""

import textwrap
from decimal import Decimal

import pytest

from slo.openslo.loading import SpecificationError, parse_specification

FOREIGN = """
---
apiVersion: openslo/v1
kind: DataSource
metadata: {name: cluster, annotations: {goshop.dev/series: foreign}}
spec: {type: Prometheus}
"""
# No Service and no DataSource; one document a file.
PAYMENTS = """
apiVersion: openslo/v1
kind: SLO
metadata:
  name: payments-api-availability
  displayName: Payments API, 30 days
  labels:
    team: payments
    tier: tier-1
  annotations:
    vendor.example/owner: "12"
spec:
  description: Answers that are no 5xx
  service: payments-api
  budgetingMethod: Occurrences
  timeWindow:
    - duration: 30d
      isRolling: true
  indicator:
    metadata:
      name: payments-api-availability
    spec:
      ratioMetric:
        counter: true
        good:
          metricSource:
            type: Prometheus
            spec:
              query: sum(rate(http_requests_total{service="payments-api",status!~"5.."}[5m]))
        total:
          metricSource:
            type: Prometheus
            spec:
              query: sum(rate(http_requests_total{service="payments-api"}[5m]))
  objectives:
    - displayName: three nines
      target: 0.999
"""
# A data source by name that somebody else declares; queries over several lines.
WORKFLOW = """
apiVersion: openslo/v1
kind: SLO
metadata:
  name: workflow-step-latency
spec:
  service: workflow
  indicator:
    metadata:
      name: step-latency
    spec:
      ratioMetric:
        counter: true
        good:
          metricSource:
            metricSourceRef: mimir
            type: Prometheus
            spec:
              query: |
                sum(rate(workflow_step_seconds_bucket{kind="local",le="0.2"}[5m]))
        total:
          metricSource:
            metricSourceRef: mimir
            type: Prometheus
            spec:
              query: |
                sum(rate(workflow_step_seconds_count{kind="local"}[5m]))
  timeWindow:
    - duration: 4w
  budgetingMethod: Occurrences
  objectives:
    - targetPercent: 99.9
"""
# OpenSLO's own example of a condition, but for its operator and its kind of alert.
REFERENCE = "          - conditionRef: cpu-usage-breach\n"
CONDITION = """\
        severity: page
        description: If the CPU usage is too high for given period then it should alert
        condition:
          kind: burnrate
          op: gte
          threshold: 2
          lookbackWindow: 1h
          alertAfter: 5m
"""
INLINE = (
    "          - kind: AlertCondition\n            metadata: {name: cpu-usage-breach}\n            spec:\n"
    + textwrap.indent(CONDITION, "      ")
)
PAGING = f"""
  alertPolicies:
    - kind: AlertPolicy
      metadata:
        name: slow-burn
      spec:
        conditions:
{REFERENCE}\
        notificationTargets:
          - targetRef: devs
---
apiVersion: openslo/v1
kind: AlertCondition
metadata:
  name: cpu-usage-breach
  displayName: CPU usage breach
spec:
{textwrap.indent(textwrap.dedent(CONDITION), "  ")}\
"""
SEARCH = """
apiVersion: openslo/v1
kind: SLO
metadata:
  name: search-slo
spec:
  service: web-shop
  indicator:
    metadata:
      name: search-latency
    spec:
      thresholdMetric:
        metricSource:
          type: Any
          spec:
            # whatever the source needs
  timeWindow:
    - duration: 2w
      isRolling: true
  budgetingMethod: Occurrences
  objectives:
    - op: lt
      value: 500
      target: 0.99
  alertPolicies:
"""
WEB = """
- apiVersion: openslo/v1
  kind: SLO
  metadata:
    name: web-availability
"""
CALENDAR = """
apiVersion: openslo/v1
kind: SLO
metadata:
  name: web-availability
  labels:
    team:
      - team-a
      - team-b
spec:
  service: web
  indicatorRef: web-successful-requests
  timeWindow:
    - duration: 1M
      isRolling: false
      calendar:
        startTime: 2022-01-01 12:00:00
        timeZone: America/New_York
  budgetingMethod: Timeslices
  objectives:
    - op: gt
      target: 0.995
      timeSliceTarget: 0.95
      timeSliceWindow: 1m
  alertPolicies:
    - web-alerts
"""
TERRAFORM = """
apiVersion: openslo/v1
kind: SLI
metadata:
  name: default-success-rate
spec:
  ratioMetric:
    counter: true
    good:
      metricSource:
        type: datadog
        spec:
          query: sum:api.requests.status_ok{*}.as_count()
    total:
      metricSource:
        type: datadog
        spec:
          query: sum:api.requests{*}.as_count()
---
apiVersion: openslo/v1
kind: AlertPolicy
metadata:
  name: default
spec:
  conditions:
  - conditionRef: urgent-condition
  notificationTargets:
  - target: slack
---
apiVersion: openslo/v1
kind: AlertCondition
metadata:
  name: urgent-condition
spec:
  severity: sev1
"""


def faults_of(text):
    with pytest.raises(SpecificationError) as caught:
        parse_specification(text.encode(), "theirs.yaml")
    return [f"{fault.line}: {fault.message.split(' is outside')[0]}" for fault in caught.value.faults]


def test_an_availability_without_service_and_data_source_needs_one_line_about_whose_series_they_are():
    slo = parse_specification((PAYMENTS + FOREIGN).encode(), "theirs.yaml").slo("payments-api-availability")
    assert (slo.id, slo.sli.kind, slo.sli.data_source) == ("payments-api-availability", "availability", "cluster")
    assert (slo.objective, slo.labels) == (Decimal("0.999"), (("team", "payments"), ("tier", "tier-1")))
    said = faults_of(PAYMENTS)
    assert [fault.split(" (")[0] for fault in said] == [
        "29: GoShop exports no series 'http_requests_total'; did you mean 'http_requests_refused_total'?",
        "34: GoShop exports no series 'http_requests_total'; did you mean 'http_requests_refused_total'?",
    ]


def test_a_latency_from_a_data_source_that_somebody_else_declares_loads_as_it_is():
    slo = parse_specification(WORKFLOW.encode(), "theirs.yaml").slo("workflow-step-latency")
    assert (slo.sli.kind, slo.sli.le, slo.sli.data_source) == ("latency", Decimal("0.2"), "mimir")
    assert (slo.window.text, slo.budget) == ("28d", Decimal("0.001"))


@pytest.mark.parametrize("edge", ["NaN", "-0.2", "0.0", "fast", "1e999999999"])
def test_an_edge_of_theirs_must_be_a_time(edge):
    assert faults_of(WORKFLOW.replace('le="0.2"', f'le="{edge}"'))[0] == (
        f"19: expected a number of seconds above 0 as le, got {edge!r}"
    )


def test_an_edge_of_theirs_may_have_an_exponent():
    text = WORKFLOW.replace('le="0.2"', 'le="5e-05"')
    assert parse_specification(text.encode(), "theirs.yaml").slos[0].sli.le == Decimal("0.00005")


def test_count_and_last_bucket_are_the_same_events():
    text = WORKFLOW.replace('_bucket{kind="local",le="0.2"}', '_count{kind="local"}').replace(
        '_count{kind="local"}[5m]))\n  timeWindow', '_bucket{kind="local",le="+Inf"}[5m]))\n  timeWindow'
    )
    assert faults_of(text) == ["19: good and total count the same: the ratio is always 1"]


def test_once_there_are_services_and_data_sources_the_others_are_misspelt():
    service = "---\napiVersion: openslo/v1\nkind: Service\nmetadata: {name: workflows}\n"
    assert faults_of(WORKFLOW + FOREIGN + service) == [
        "7: there is no Service 'workflow'; did you mean 'workflows'?",
        "16: there is no DataSource 'mimir'; known are cluster",
        "23: there is no DataSource 'mimir'; known are cluster",
    ]


def test_a_threshold_metric_is_named_as_such():
    assert faults_of(SEARCH) == [
        "12: 'thresholdMetric'",
        "22: 'op'",
        "23: 'value'",
        "25: expected a list, got nothing",
    ]


def test_a_list_of_documents_is_told_how_to_be_several():
    assert faults_of(WEB) == ["2: expected a mapping, got a list of 1; separate documents by ---"]


def test_calendars_time_slices_and_lists_of_labels_are_named_as_such():
    assert faults_of(CALENDAR) == [
        "8: expected one string of at most 253 characters (a Prometheus label has no list), got a list of 2",
        "14: expected a duration such as '5m', '1h', '3d' or '4w' (months have no fixed length), got '1M'",
        "15: false",
        "16: 'calendar'",
        "19: 'Timeslices'",
        "21: 'op'",
        "23: 'timeSliceTarget'",
        "24: 'timeSliceWindow'",
        "26: expected a mapping, got 'web-alerts'",
    ]


def test_a_condition_with_a_document_of_its_own_loads_wherever_it_stands():
    slo = parse_specification((PAYMENTS + PAGING + FOREIGN).encode(), "theirs.yaml").slo("payments-api-availability")
    inline = PAGING.replace(REFERENCE, INLINE).rpartition("---")[0]
    again = parse_specification((PAYMENTS + inline + FOREIGN).encode(), "theirs.yaml").slo("payments-api-availability")
    assert slo == again
    (alert,) = slo.alerts
    assert (alert.severity, alert.factor, alert.long.text, alert.hold.seconds) == ("page", 2, "1h", 300)
    assert (alert.description, alert.targets) == (
        "If the CPU usage is too high for given period then it should alert",
        ("devs",),
    )


@pytest.mark.parametrize(
    ("was", "now"), [("threshold: 2", "threshold: 3"), ("Window: 1h", "Window: 2h"), (": 5m", ": 6m")]
)
def test_no_number_of_a_condition_elsewhere_is_read_and_dropped(was, now):
    one, other = (PAYMENTS + text + FOREIGN for text in (PAGING, PAGING.replace(was, now)))
    assert PAGING.count(was) == 1
    assert parse_specification(one.encode(), "a.yaml") != parse_specification(other.encode(), "a.yaml")


def test_a_condition_of_a_misspelt_name_is_asked_for():
    text = PAYMENTS + PAGING.replace("conditionRef: cpu-usage-breach", "conditionRef: cpu-usage") + FOREIGN
    assert faults_of(text) == ["45: there is no AlertCondition 'cpu-usage'; did you mean 'cpu-usage-breach'?"]


def test_other_data_sources_and_targets_are_named_as_such():
    assert faults_of(TERRAFORM) == [
        "11: 'datadog'",
        "16: 'datadog'",
        "28: missing key 'targetRef'",
        "28: unknown key 'target'; did you mean 'targetRef'?",
        "35: missing key 'condition'",
        "35: expected 'page' or 'ticket', got 'sev1'",
    ]
