"""From alert policies and their conditions to the model: written inline, or documents of their own that others name."""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from slo.openslo.documents import AlertConditionDocument, AlertPolicyDocument
from slo.openslo.durations import HOUR, window, window_of
from slo.openslo.entries import Entry, Findings, Place
from slo.openslo.fields import exact
from slo.openslo.metadata import Metadata
from slo.openslo.model import AlertPolicy, Severity, Window
from slo.openslo.specs import AlertConditionEntry, AlertConditionSpec, AlertPolicyEntry, AlertPolicySpec

# https://sre.google/workbook/alerting-on-slos/#6-multiwindow-multi-burn-rate-alerts
SHORT_WINDOWS: Final = 12
# Its short window, 5m, has five scrapes at Prometheus' default of one a minute; a rate needs two, and some get lost.
SHORTEST_LOOK_BACK: Final = window(HOUR)


@dataclass(frozen=True, slots=True)
class Condition:
    """When an alert fires, and how grave that is; the fields are those of `AlertPolicy`."""

    severity: Severity
    factor: Decimal
    long: Window
    hold: Window
    description: str


def read_condition_document(entry: Entry, body: AlertConditionDocument, findings: Findings) -> Condition | None:
    """Return what an AlertCondition with a document of its own says."""
    return _condition(body.spec, entry.place.at("spec"), findings)


def read_alert_document(
    entry: Entry, body: AlertPolicyDocument, conditions: Mapping[str, Condition], findings: Findings
) -> AlertPolicy | None:
    """Return what an AlertPolicy with a document of its own says; `conditions` are those that it may name."""
    return _policy(body.metadata, body.spec, entry.place.at("spec"), conditions, findings)


def read_alerts(
    entries: tuple[AlertPolicyEntry, ...],
    place: Place,
    alerts: Mapping[str, AlertPolicy],
    conditions: Mapping[str, Condition],
    findings: Findings,
) -> dict[int, AlertPolicy]:
    """Return the alerts of an SLO by their index in `entries`; `alerts` and `conditions` are those that may be named."""
    found: dict[int, AlertPolicy] = {}
    for index, entry in enumerate(entries):
        at = place.at(index)
        if not _is_whole(entry, at, findings):
            continue
        alert = _named(entry, at, alerts, findings) or _inline(entry, at, conditions, findings)
        if alert is not None and any(other.name == alert.name for other in found.values()):
            findings.add(at, f"the alert policy {alert.name!r} is named twice")
        elif alert is not None:
            found[index] = alert
    return found


def _is_whole(entry: AlertPolicyEntry, place: Place, findings: Findings) -> bool:
    inline = (entry.kind, entry.metadata, entry.spec)
    if all(inline) if entry.alert_policy_ref is None else not any((entry.metadata, entry.spec)):
        return True
    findings.add(place, "expected an alertPolicyRef alone, or kind, metadata and spec of an AlertPolicy")
    return False


def _named(
    entry: AlertPolicyEntry, place: Place, alerts: Mapping[str, AlertPolicy], findings: Findings
) -> AlertPolicy | None:
    name = entry.alert_policy_ref
    if name is None or not findings.refer(place.at("alertPolicyRef"), "AlertPolicy", name):
        return None
    return alerts.get(name)


def _inline(
    entry: AlertPolicyEntry, place: Place, conditions: Mapping[str, Condition], findings: Findings
) -> AlertPolicy | None:
    if entry.metadata is None or entry.spec is None:
        return None
    return _policy(entry.metadata, entry.spec, place.at("spec"), conditions, findings)


def _policy(
    metadata: Metadata, spec: AlertPolicySpec, place: Place, conditions: Mapping[str, Condition], findings: Findings
) -> AlertPolicy | None:
    """Return what an AlertPolicy says; `place` is that of `spec`."""
    condition = _condition_of(spec.conditions[0], place.at("conditions", 0), conditions, findings)
    if condition is None:
        return None
    return AlertPolicy(
        name=metadata.name,
        severity=condition.severity,
        factor=condition.factor,
        long=condition.long,
        short=window(condition.long.seconds // SHORT_WINDOWS),
        hold=condition.hold,
        display_name=metadata.display_name or "",
        description=spec.description or condition.description,
        no_data=spec.alert_when_no_data,
        targets=tuple(target.target_ref for target in spec.notification_targets),
    )


def _condition_of(
    entry: AlertConditionEntry, place: Place, conditions: Mapping[str, Condition], findings: Findings
) -> Condition | None:
    name, inline = entry.condition_ref, (entry.kind, entry.metadata, entry.spec)
    if name is not None and not any((entry.metadata, entry.spec)):
        findings.refer(place.at("conditionRef"), "AlertCondition", name)
        return conditions.get(name)
    if name is None and all(inline) and entry.spec is not None:
        return _condition(entry.spec, place.at("spec"), findings)
    findings.add(place, "expected a conditionRef alone, or kind, metadata and spec of an AlertCondition")
    return None


def _condition(spec: AlertConditionSpec, place: Place, findings: Findings) -> Condition | None:
    """Return what an AlertCondition says; `place` is that of its `spec`."""
    condition, at = spec.condition, place.at("condition")
    long, hold = window_of(condition.lookback_window), window_of(condition.alert_after)
    factor = exact(condition.threshold)
    faults = len(findings.faults)
    if factor <= 0:
        findings.add(at.at("threshold"), f"expected a burn rate above 0, got {factor}")
    if long.seconds < SHORTEST_LOOK_BACK.seconds:
        said = f"expected at least {SHORTEST_LOOK_BACK.text}, got {long.text!r}: a twelfth, the short window, needs some scrapes"
        findings.add(at.at("lookbackWindow"), said)
    if hold.seconds > long.seconds:
        said = f"expected at most {long.text} (lookbackWindow), got {hold.text!r}: an alert that waits longer than it looks back comes too late"
        findings.add(at.at("alertAfter"), said)
    if len(findings.faults) > faults:
        return None
    return Condition(spec.severity, factor, long, hold, spec.description)
