"""Alerts of an SLO: a rule for each burn rate over two windows, and one for series that are gone.

Source: https://sre.google/workbook/alerting-on-slos/#6-multiwindow-multi-burn-rate-alerts
"""

import json
from dataclasses import dataclass
from typing import Final

from slo.generation.model import Alert, Group, Labels
from slo.generation.numbers import exact, percent
from slo.generation.recording import SLOTH_WINDOW, bad_name, identity, of, over, ratio_name
from slo.openslo.durations import MINUTE, window
from slo.openslo.model import AlertPolicy, Severity, Slo

# One bad request of ten at night is 10 %, and no reason to wake anybody. On bad events and not on all of them: a guard
# on the traffic would hide an outage that keeps customers away.
FEWEST_BAD: Final = 5
# As long as Prometheus goes on with the last value of a series that is not scraped any more.
GONE_AFTER: Final = window(5 * MINUTE)
NOTIFY: Final = "notify"
SEVERITY: Final = "severity"
SLOTH_SEVERITY: Final = "sloth_severity"


@dataclass(frozen=True, slots=True)
class Sites:
    """What stands in front of links that begin with "/": the roots of the sites of runbooks and of dashboards."""

    runbooks: str = ""
    dashboards: str = ""


def alert_group(slo: Slo, sites: Sites) -> tuple[Group, ...]:
    """Return the group of an SLO's alerts; none when it has none."""
    rules = (*(_burn(slo, policy, sites) for policy in slo.alerts), *_absent(slo, sites))
    return (Group(f"sloth-slo-alerts-{slo.id}", rules),) if rules else ()


def _burn(slo: Slo, policy: AlertPolicy, sites: Sites) -> Alert:
    """Fire while the budget burns too fast over both windows.

    The long one says that it matters, the short one that it goes on: the alert ends soon after its cause.
    """
    limit = policy.factor * slo.budget
    sides = [
        f"max without ({SLOTH_WINDOW}) ({of(slo, ratio_name(period))} > {exact(limit)})"
        for period in (policy.long, policy.short)
    ]
    guard = f"and on (sloth_id)\n{of(slo, bad_name(policy.long))} >= {FEWEST_BAD}"
    said = (
        f"{{{{ $value | humanizePercentage }}}} of all events over {policy.long.text} were bad; the limit is {percent(limit)} %"
        f" (burn rate {exact(policy.factor)}, budget {percent(slo.budget)} % over {slo.window.text})."
    )
    return Alert(
        name=_camel(slo.name) + _camel(policy.name),
        expr=f"{sides[0]}\nand\n{sides[1]}\n{guard}",
        hold=policy.hold.text if policy.hold.seconds else "",
        labels=_severity(policy.severity, policy.targets),
        annotations=_annotations(
            slo,
            policy.display_name or policy.name,
            " ".join(filter(None, (_literal(policy.description), said))),
            sites,
        ),
    )


def _absent(slo: Slo, sites: Sites) -> tuple[Alert, ...]:
    """Return alerts for what no ratio can tell: all series are gone, or a latency's bucket where requests are counted."""
    heard = [policy for policy in slo.alerts if policy.no_data]
    found = []
    if heard:
        gravest = min(heard, key=lambda policy: policy.severity != "page")
        said = f"{slo.sli.everything} has no series: nobody knows whether the objective is met."
        what = _Gone("Absent", "no data", said, f"absent({slo.sli.everything})")
        found.append(_gone(slo, what, _severity(gravest.severity, gravest.targets), sites))
    if slo.sli.kind == "latency" and slo.alerts:
        expr = f"absent({slo.sli.events})\nand on ()\n({over(slo.sli.total(), GONE_AFTER)} > 0)"
        said = f"Requests are counted, but {slo.sli.events} has no series: is its le an edge of a bucket?"
        what = _Gone("BucketAbsent", "no bucket", said, expr)
        # Nothing is known to be broken but the watching of it.
        found.append(_gone(slo, what, _severity("ticket", slo.alerts[-1].targets), sites))
    return tuple(found)


@dataclass(frozen=True, slots=True)
class _Gone:
    """What is gone: a name for the alert, in words, and how it is seen."""

    suffix: str
    what: str
    said: str
    expr: str


def _gone(slo: Slo, gone: _Gone, labels: Labels, sites: Sites) -> Alert:
    # absent() knows the labels of its selector only; labels of alerts are templates, unlike those of records.
    own = {name: _literal(value) for name, value in identity(slo)}
    return Alert(
        name=_camel(slo.name) + gone.suffix,
        expr=gone.expr,
        hold=GONE_AFTER.text,
        labels=tuple(sorted({**own, **dict(labels)}.items())),
        annotations=_annotations(slo, gone.what, _literal(gone.said), sites),
    )


def _severity(severity: Severity, targets: tuple[str, ...]) -> Labels:
    notify = ((NOTIFY, _literal(",".join(targets))),) if targets else ()
    return (*notify, (SEVERITY, severity), (SLOTH_SEVERITY, severity))


def _annotations(slo: Slo, what: str, description: str, sites: Sites) -> Labels:
    links = (
        ("dashboard_url", _link(slo.dashboard, sites.dashboards)),
        ("runbook_url", _link(slo.runbook, sites.runbooks)),
    )
    summary = f"{_literal(slo.display_name or slo.name)}: {_literal(what)}"
    return tuple(
        (name, value)
        for name, value in (links[0], ("description", description), links[1], ("summary", summary))
        if value
    )


def _link(link: str, site: str) -> str:
    return _literal(site.rstrip("/") + link if link.startswith("/") else link)


def _literal(text: str) -> str:
    """Return text that a Go template shows as it is (https://pkg.go.dev/text/template)."""
    return text.replace("{{", f"{{{{ {json.dumps('{{')} }}}}")


def _camel(name: str) -> str:
    """Return "GatewayLatency" for "gateway-latency"; parts that can't begin with a capital keep a mark of their own."""
    return "".join(part.capitalize() if part[:1].isalpha() else f"_{part}" for part in name.split("-"))
