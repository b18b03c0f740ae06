"""Alerts of an SLO: a rule for each burn rate over two windows, and some for what is not counted at all.

Source: https://sre.google/workbook/alerting-on-slos/#6-multiwindow-multi-burn-rate-alerts
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from slo.generation.links import encoded
from slo.generation.model import Alert, Group, Labels
from slo.generation.numbers import exact, percent
from slo.generation.recording import SLOTH_WINDOW, bad_name, identity, of, over, ratio_name
from slo.openslo.durations import HOUR, MINUTE, window
from slo.openslo.known_series import TARGET_LABELS
from slo.openslo.model import AlertPolicy, Severity, Sli, Slo, Window
from slo.openslo.promql import Selector

# One bad request of ten at night is 10 %, and no reason to wake anybody. On bad events and not on all of them: a guard
# on the traffic would hide an outage that keeps customers away.
FEWEST_BAD: Final = 5
# As long as Prometheus goes on with the last value of a series that is not scraped any more.
GONE_AFTER: Final = window(5 * MINUTE)
# A night in which nobody calls a service that was just started.
NEVER_CALLED_AFTER: Final = window(6 * HOUR)
# Without a single request for so long, though there were many at this time of day and of the week: customers are kept
# away before they reach the service. Both, because shops have week-ends.
QUIET: Final = window(10 * MINUTE)
USUAL: Final = (" offset 1d", " offset 1w")
USUALLY_BUSY: Final = 100
# What names the targets of one service: https://prometheus.io/docs/concepts/jobs_instances/, and our scrape configuration.
TARGETS: Final = frozenset({"instance", "job", "service"})
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
    rules = (*(_burn(slo, policy, sites) for policy in slo.alerts), *_missing(slo, sites))
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
            policy.name,
            policy.display_name or policy.name,
            " ".join(filter(None, (_literal(policy.description), said))),
            sites,
        ),
    )


def _missing(slo: Slo, sites: Sites) -> tuple[Alert, ...]:
    """Return alerts for what no ratio can tell: nothing is counted, or a latency's bucket is gone."""
    heard = [policy for policy in slo.alerts if policy.no_data]
    gone = list(_nothing_counted(slo, min(heard, key=lambda policy: policy.severity != "page"))) if heard else []
    if slo.sli.kind == "latency" and slo.alerts:
        expr = f"absent({slo.sli.events})\nand on ()\n({over(slo.sli.total(), GONE_AFTER)} > 0)"
        said = f"Requests are counted, but {slo.sli.events} has no series: is its le an edge of a bucket{_spelling(slo.sli)}?"
        gone.append(_Gone("BucketAbsent", "no bucket", said, expr, GONE_AFTER, _ticket(slo)))
    return tuple(_gone(slo, each, sites) for each in gone)


def _spelling(sli: Sli) -> str:
    """Say how Prometheus spells a whole number; our own edges are checked when the specification is read.

    Source: https://prometheus.io/docs/prometheus/latest/migration/#le-and-quantile-label-values
    """
    if not sli.foreign or sli.le is None or sli.le % 1:
        return ""
    return f', and spelled as it is stored (Prometheus 3: "{sli.le:.1f}", Prometheus 2 often "{sli.le:.0f}")'


@dataclass(frozen=True, slots=True)
class _Gone:
    """What is gone: a name for the alert, in words, how it is seen, for how long, and who is told."""

    suffix: str
    what: str
    said: str
    expr: str
    hold: Window
    labels: Labels


def _nothing_counted(slo: Slo, gravest: AlertPolicy) -> Iterator[_Gone]:
    """Yield the alerts of a policy that also fires without data: no series, no series of a process that runs, no traffic.

    Series begin with the first call, so that nobody is woken because a service that is up was not called since its start.
    """
    everything, loud = slo.sli.everything, _severity(gravest.severity, gravest.targets)
    absent, up = f"absent({everything})", _up(slo.sli)
    said = f"{everything} has no series: nobody knows whether the objective is met."
    yield _Gone("Absent", "no data", said, f"{absent}\nunless on ()\n{up}" if up else absent, GONE_AFTER, loud)
    if up:
        said = (
            f"The service is up, and {everything} has no series: it was not called since its start, or does not count."
        )
        yield _Gone("NotCounted", "not counted", said, f"{absent}\nand on ()\n{up}", NEVER_CALLED_AFTER, _ticket(slo))
    now, yesterday, last_week = (f"sum(increase({everything}[{QUIET.text}]{ago}))" for ago in ("", *USUAL))
    used_to = "".join(f"\nand on ()\n{then} > {USUALLY_BUSY}" for then in (yesterday, last_week))
    said = f"{everything} counts nothing, and had more than {USUALLY_BUSY} in {QUIET.text} a day and a week ago."
    yield _Gone("NoTraffic", "no traffic", said, f"{now} == 0{used_to}", GONE_AFTER, loud)


def _up(sli: Sli) -> str:
    """Return what tells that a target of these series is up, "" where they don't say whose they are.

    Of our own series it is known which labels are the target's. Of others all are taken: where one is not the target's,
    nothing is found, and nothing is known to be up.
    """
    whose = [matcher for matcher in sli.everything.matchers if sli.foreign or matcher.label in TARGET_LABELS]
    if not any(matcher.label in TARGETS and matcher.operator == "=" and matcher.value for matcher in whose):
        return ""
    return f"({Selector('up', tuple(whose))} == 1)"


def _gone(slo: Slo, gone: _Gone, sites: Sites) -> Alert:
    # absent() knows the labels of its selector only; labels of alerts are templates, unlike those of records.
    own = {name: _literal(value) for name, value in identity(slo)}
    return Alert(
        name=_camel(slo.name) + gone.suffix,
        expr=gone.expr,
        hold=gone.hold.text,
        labels=tuple(sorted({**own, **dict(gone.labels)}.items())),
        annotations=_annotations(slo, gone.what.replace(" ", "-"), gone.what, _literal(gone.said), sites),
    )


def _ticket(slo: Slo) -> Labels:
    # Nothing is known to be broken but the watching of it.
    return _severity("ticket", slo.alerts[-1].targets)


def _severity(severity: Severity, targets: tuple[str, ...]) -> Labels:
    notify = ((NOTIFY, _literal(",".join(targets))),) if targets else ()
    return (*notify, (SEVERITY, severity), (SLOTH_SEVERITY, severity))


def _annotations(slo: Slo, section: str, what: str, description: str, sites: Sites) -> Labels:
    links = (
        ("dashboard_url", _link(slo.dashboard, sites.dashboards)),
        ("runbook_url", _link(_at_section(slo.runbook, section), sites.runbooks)),
    )
    summary = f"{_literal(slo.display_name or slo.name)}: {_literal(what)}"
    return tuple(
        (name, value)
        for name, value in (links[0], ("description", description), links[1], ("summary", summary))
        if value
    )


def _at_section(page: str, section: str) -> str:
    """Return the page's section for an alert, called as its condition is ("fast-burn", "no-data"); a section of one's own stays."""
    return page if not page or "#" in page else f"{page}#{section}"


def _link(link: str, site: str) -> str:
    return encoded(site.rstrip("/") + link if link.startswith("/") else link)


def _literal(text: str) -> str:
    """Return text that a Go template shows as it is (https://pkg.go.dev/text/template)."""
    return text.replace("{{", f"{{{{ {json.dumps('{{')} }}}}")


def _camel(name: str) -> str:
    """Return "GatewayLatency" for "gateway-latency"; parts that can't begin with a capital keep a mark of their own."""
    return "".join(part.capitalize() if part[:1].isalpha() else f"_{part}" for part in name.split("-"))
