"""What stands under `spec` of each kind of document, as it is spelled.

What OpenSLO has and we do not read is named beside its place (`OUTSIDE`), with what to write instead. Field names are camel
case in the documents.
"""

from typing import ClassVar, Final, Literal

from slo.openslo.fields import Description, Duration, Endpoint, Link, Milliseconds, Name, One, Rate, Script, Text
from slo.openslo.metadata import OPENSLO, Metadata, Strict


class PrometheusQuery(Strict, frozen=True):
    """Where `type` is Prometheus: which series are counted (slo/openslo/promql.py)."""

    query: Text


_OTHER_SOURCES: Final = {"type": {"*": "series are read from Prometheus only"}}


class MetricSource(Strict, frozen=True):
    """Where a number is read: a DataSource by name, or a type."""

    spec: PrometheusQuery
    metric_source_ref: Name | None = None
    type: Literal["Prometheus", "prometheus"] | None = None

    OUTSIDE_VALUES: ClassVar = _OTHER_SOURCES


class Metric(Strict, frozen=True):
    """One number of a ratio."""

    metric_source: MetricSource


class RatioMetric(Strict, frozen=True):
    """Good or bad events out of all."""

    counter: bool
    total: Metric
    good: Metric | None = None
    bad: Metric | None = None

    OUTSIDE: ClassVar = {
        "raw": "a ratio that was made before can't be weighted by traffic; write good or bad, and total",
        "rawType": "it belongs to raw",
    }
    OUTSIDE_VALUES: ClassVar = {"counter": {"False": "a gauge has no events to count"}}


_THRESHOLD: Final = "write a latency as a ratioMetric: good is the bucket of the limit, total the count"


class SliSpec(Strict, frozen=True):
    """What is counted."""

    ratio_metric: RatioMetric
    description: Description = ""

    OUTSIDE: ClassVar = {"thresholdMetric": _THRESHOLD}


class InlineSli(Strict, frozen=True):
    """An SLI inside an SLO."""

    metadata: Metadata
    spec: SliSpec
    kind: Literal["SLI"] = "SLI"
    api_version: Literal["openslo/v1"] = OPENSLO


class TimeWindow(Strict, frozen=True):
    """Over how long the objective holds."""

    duration: Duration
    is_rolling: bool = True

    _CALENDAR: ClassVar = "windows are rolling, because an alert knows no calendar"
    OUTSIDE: ClassVar = {"calendar": _CALENDAR}
    OUTSIDE_VALUES: ClassVar = {"isRolling": {"False": _CALENDAR}}


class ObjectiveEntry(Strict, frozen=True):
    """The share of events that must be good: `target` 0.999 or `targetPercent` 99.9."""

    display_name: Text | None = None
    target: float | None = None
    target_percent: float | None = None

    _SLICES: ClassVar = "it belongs to the budgeting method Timeslices; Occurrences are counted"
    _COMPOSITE: ClassVar = "a composite hides which part is broken; write an SLO for each part"
    OUTSIDE: ClassVar = {
        "op": _THRESHOLD,
        "value": _THRESHOLD,
        "timeSliceTarget": _SLICES,
        "timeSliceWindow": _SLICES,
        "indicator": _COMPOSITE,
        "indicatorRef": _COMPOSITE,
        "compositeWeight": _COMPOSITE,
        "composite": _COMPOSITE,
    }


class BurnRate(Strict, frozen=True):
    """When the budget burns too fast."""

    threshold: float
    lookback_window: Duration
    kind: Literal["burnrate"] = "burnrate"
    # An error ratio that equals its limit to the last digit is nobody's case: gte says the same.
    op: Literal["gt", "gte"] = "gt"
    alert_after: Duration = "0m"

    OUTSIDE_VALUES: ClassVar = {
        # https://github.com/OpenSLO/OpenSLO#alertcondition has lte, and means the budget that is left.
        "op": dict.fromkeys(
            ("lt", "lte"), "a budget burns too fast above a rate, whatever OpenSLO's examples have: gt"
        ),
    }


class AlertConditionSpec(Strict, frozen=True):
    """How grave it is when the condition holds."""

    severity: Literal["page", "ticket"]
    condition: BurnRate
    description: Description = ""


class AlertConditionEntry(Strict, frozen=True):
    """The condition of an AlertPolicy: by name, or inline."""

    condition_ref: Name | None = None
    kind: Literal["AlertCondition"] | None = None
    metadata: Metadata | None = None
    spec: AlertConditionSpec | None = None
    api_version: Literal["openslo/v1"] = OPENSLO


class NotificationTarget(Strict, frozen=True):
    """Who is told: a receiver of Alertmanager, by name."""

    target_ref: Text

    _INLINE: ClassVar = "name the receiver by targetRef; what it is, Alertmanager's configuration says"
    OUTSIDE: ClassVar = dict.fromkeys(("apiVersion", "kind", "metadata", "spec"), _INLINE)


class AlertPolicySpec(Strict, frozen=True):
    """One alert: its condition, and who is told."""

    conditions: One[AlertConditionEntry]
    description: Description = ""
    alert_when_breaching: bool = True
    alert_when_resolved: bool = False
    alert_when_no_data: bool = False
    notification_targets: tuple[NotificationTarget, ...] = ()

    OUTSIDE_VALUES: ClassVar = {
        "alertWhenBreaching": {"False": "an alert that does not fire is none"},
        "alertWhenResolved": {"True": "who hears of an end is said in Alertmanager's configuration (send_resolved)"},
    }


class AlertPolicyEntry(Strict, frozen=True):
    """An alert of an SLO: by name, or inline."""

    alert_policy_ref: Name | None = None
    kind: Literal["AlertPolicy"] | None = None
    metadata: Metadata | None = None
    spec: AlertPolicySpec | None = None
    api_version: Literal["openslo/v1"] = OPENSLO


class SloSpec(Strict, frozen=True):
    """An objective for an indicator."""

    service: Name
    time_window: One[TimeWindow]
    budgeting_method: Literal["Occurrences"]
    objectives: One[ObjectiveEntry]
    description: Description = ""
    indicator: InlineSli | None = None
    indicator_ref: Name | None = None
    alert_policies: tuple[AlertPolicyEntry, ...] = ()

    _SLICES: ClassVar = "time slices forget how many requests each had; Occurrences are counted"
    OUTSIDE_VALUES: ClassVar = {"budgetingMethod": {"Timeslices": _SLICES, "RatioTimeslices": _SLICES}}


class DescribedSpec(Strict, frozen=True):
    """A specification that is a description."""

    description: Description = ""


class ConnectionDetails(Strict, frozen=True):
    """How to reach a data source; credentials don't belong into a file that is committed."""

    url: Link | None = None


class DataSourceSpec(Strict, frozen=True):
    """Which kind of data source it is, and where."""

    type: Literal["Prometheus", "prometheus"]
    description: Description = ""
    connection_details: ConnectionDetails = ConnectionDetails()

    OUTSIDE_VALUES: ClassVar = _OTHER_SOURCES


class GateObjective(Strict, frozen=True):
    """An SLO that the release must meet under load, tightened where it says so.

    `endpoint` narrows it to one route, `target` is another share of good requests, `within` another limit of a latency.
    `loosened` has the reason where that is less than the SLO asks for.
    """

    name: Name
    slo_ref: Name
    endpoint: Endpoint | None = None
    target: float | None = None
    within: Milliseconds | None = None
    loosened: Text | None = None


class Throughput(Strict, frozen=True):
    """How many requests a second must be answered."""

    target: Rate
    name: Name = "throughput"


class ReleaseGateSpec(Strict, frozen=True):
    """A load script (from the document's file on), its profile, and what must hold under it."""

    script: Script
    profile: Name = "smoke"
    description: Description = ""
    objectives: tuple[GateObjective, ...] = ()
    throughput: Throughput | None = None
