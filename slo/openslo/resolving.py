"""From documents to the model: references followed, numbers made exact, and what can't be meant found."""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from slo.openslo.alerts import Condition, read_alerts
from slo.openslo.documents import DataSourceDocument, ServiceDocument, SliDocument, SloDocument
from slo.openslo.durations import DAY, window, window_of
from slo.openslo.entries import Entry, Findings, Place
from slo.openslo.fields import exact
from slo.openslo.indicators import read_sli
from slo.openslo.metadata import Metadata
from slo.openslo.model import AlertPolicy, DataSource, Service, Sli, Slo, Window
from slo.openslo.specs import ObjectiveEntry

# Shorter windows have too few events for a budget, longer ones nobody remembers.
SHORTEST: Final = window(DAY)
LONGEST: Final = window(90 * DAY)
# Below, most events may be bad; above, the first bad one in any window that is read leaves no budget.
SMALLEST_SHARE: Final = Decimal("0.5")
LARGEST_SHARE: Final = Decimal("0.99999999")
# Labels of the rules themselves.
RESERVED_PREFIXES: Final = ("sloth_", "__")
RESERVED_LABELS: Final = frozenset({"alertname", "le", "notify", "severity"})


@dataclass(frozen=True, slots=True)
class Parts:
    """What SLOs are made from, each by name; `metadata` is that of the services."""

    metadata: Mapping[str, Metadata]
    data_sources: Mapping[str, DataSource]
    slis: Mapping[str, Sli]
    conditions: Mapping[str, Condition]
    alerts: Mapping[str, AlertPolicy]


def read_service(entry: Entry, body: ServiceDocument, findings: Findings) -> Service:
    """Return what a Service says."""
    _require_labels(body.metadata, entry.place, findings)
    return Service(body.metadata.name, body.metadata.display_name or "", body.spec.description)


def read_data_source(_entry: Entry, body: DataSourceDocument) -> DataSource:
    """Return what a DataSource says."""
    foreign = body.metadata.annotations.series == "foreign"
    return DataSource(body.metadata.name, body.spec.connection_details.url or "", foreign)


def read_indicator(
    entry: Entry, body: SliDocument, sources: Mapping[str, DataSource], findings: Findings
) -> Sli | None:
    """Return what an SLI says."""
    return read_sli(body.metadata.name, body.spec, entry.place.at("spec"), sources, findings)


def read_slo(entry: Entry, body: SloDocument, parts: Parts, findings: Findings) -> Slo | None:
    """Return what an SLO says, None when something is wrong with it."""
    before = len(findings.faults)
    metadata, spec, at = body.metadata, body.spec, entry.place.at("spec")
    findings.refer_if_any(at.at("service"), "Service", spec.service)
    _require_labels(metadata, entry.place, findings)
    sli = _sli(body, at, parts, findings)
    objective = _objective(spec.objectives[0], at.at("objectives", 0), findings)
    period = _period(spec.time_window[0].duration, at.at("timeWindow", 0, "duration"), findings)
    alerts = read_alerts(spec.alert_policies, at.at("alertPolicies"), parts.alerts, parts.conditions, findings)
    if objective is not None and period is not None:
        for index, alert in alerts.items():
            _require_effect(alert, objective, period, at.at("alertPolicies", index), findings)
    if sli is None or objective is None or period is None or len(findings.faults) > before:
        return None
    service = parts.metadata.get(spec.service, metadata)
    return Slo(
        name=metadata.name,
        service=spec.service,
        sli=sli,
        objective=objective,
        budget=1 - objective,
        window=period,
        alerts=tuple(sorted(alerts.values(), key=lambda alert: (-alert.factor, alert.name))),
        labels=tuple(sorted({**service.labels, **metadata.labels}.items())),
        display_name=metadata.display_name or "",
        description=spec.description,
        runbook=metadata.annotations.runbook or service.annotations.runbook or "",
        dashboard=metadata.annotations.dashboard or service.annotations.dashboard or "",
    )


def _sli(body: SloDocument, place: Place, parts: Parts, findings: Findings) -> Sli | None:
    inline, name = body.spec.indicator, body.spec.indicator_ref
    if inline is not None and name is None:
        at = place.at("indicator", "spec")
        return read_sli(inline.metadata.name, inline.spec, at, parts.data_sources, findings)
    if name is not None and inline is None:
        findings.refer(place.at("indicatorRef"), "SLI", name)
        return parts.slis.get(name)
    findings.add(place, f"expected indicator or indicatorRef, got {'neither' if inline is None else 'both'}")
    return None


def _objective(entry: ObjectiveEntry, place: Place, findings: Findings) -> Decimal | None:
    if (entry.target is None) == (entry.target_percent is None):
        findings.add(place, f"expected target or targetPercent, got {'neither' if entry.target is None else 'both'}")
        return None
    key, scale = ("target", Decimal(1)) if entry.target is not None else ("targetPercent", Decimal(100))
    written = exact(entry.target if entry.target is not None else entry.target_percent or 0.0)
    if fault := share_fault(written, scale):
        findings.add(place.at(key), fault)
        return None
    return written / scale


def share_fault(written: Decimal, scale: Decimal = Decimal(1)) -> str:
    """Return why a share of good events is no objective, "" when it is one; `scale` is what 100 % are written as."""
    if written == scale:
        return "an objective of 100 % leaves no budget: the first bad event would break it for good"
    if SMALLEST_SHARE <= written / scale <= LARGEST_SHARE:
        return ""
    meant = "; did you mean targetPercent?" if scale == 1 and 1 < written < 100 else ""  # noqa: PLR2004 - per cent
    least, most = (f"{(end * scale).normalize():f}" for end in (SMALLEST_SHARE, LARGEST_SHARE))
    got = min(f"{written:f}", str(written.normalize()), key=len)
    return f"expected a share from {least} to {most}, got {got}{meant}"


def _period(text: str, place: Place, findings: Findings) -> Window | None:
    period = window_of(text)
    if SHORTEST.seconds <= period.seconds <= LONGEST.seconds:
        return period
    findings.add(place, f"expected a window from {SHORTEST.text} to {LONGEST.text}, got {text!r}")
    return None


def _require_effect(alert: AlertPolicy, objective: Decimal, period: Window, place: Place, findings: Findings) -> None:
    """Require that an alert can fire, and that it does so before the budget is gone."""
    threshold = alert.factor * (1 - objective)
    if threshold >= 1:
        findings.add(
            place,
            f"the alert policy {alert.name!r} can never fire: {alert.factor:f} times the budget of"
            f" {1 - objective:f} is {threshold:f}, and no more than all events can be bad",
        )
    if alert.long.seconds > period.seconds:
        findings.add(
            place, f"the alert policy {alert.name!r} looks back {alert.long.text}, the window is {period.text}"
        )
    elif alert.factor * (spent := alert.long.seconds + alert.hold.seconds) >= period.seconds:
        findings.add(
            place,
            f"the alert policy {alert.name!r} fires when the budget is gone: {window(spent).text} at"
            f" {alert.factor:f} times use all that {period.text} have",
        )


def _require_labels(metadata: Metadata, place: Place, findings: Findings) -> None:
    for name in metadata.labels:
        if name in RESERVED_LABELS or name.startswith(RESERVED_PREFIXES):
            findings.add(place.at("metadata", "labels", name), f"the rules themselves set the label {name!r}")
