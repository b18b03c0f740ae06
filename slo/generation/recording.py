"""Recording rules of an SLO, in the names and labels of Sloth (https://sloth.dev), so that its dashboards show them.

Three things are not as in Sloth. The ratio over the whole period is one of events, not a mean of ratios over time: an
hour at night weighs as much as its traffic. A bad series that was never seen counts as 0, so that there is a ratio from
the first request on (not for latencies, where it would hide a limit that is no bucket's edge: slo/openslo/model.py).
And numbers are the decimals that were written.
"""

import re
from typing import Final

from slo.generation.model import Group, Labels, Record
from slo.generation.numbers import exact, percent
from slo.openslo.durations import DAY, HOUR, MINUTE, window
from slo.openslo.model import WINDOW, Sli, Slo, Window

ID: Final = "sloth_id"
SERVICE: Final = "sloth_service"
NAME: Final = "sloth_slo"
SLOTH_WINDOW: Final = "sloth_window"

# What Sloth's dashboards can be asked for: they show a window that is not recorded as an SLI of 100 %.
SHOWN: Final = tuple(map(window, (5 * MINUTE, 30 * MINUTE, HOUR, 2 * HOUR, 6 * HOUR, DAY, 3 * DAY)))

# What is counted at a time; the period's ratio is made of these.
STEP: Final = window(5 * MINUTE)
BAD_STEP: Final = f"slo:sli_bad:increase{STEP.text}"
TOTAL_STEP: Final = f"slo:sli_total:increase{STEP.text}"

_PLACE: Final = re.compile(rf'"(?:[^"\\]|\\.)*"|{re.escape(WINDOW)}')


def ratio_name(period: Window) -> str:
    """Return the series of the share of bad events over a window."""
    return f"slo:sli_error:ratio_rate{period.text}"


def bad_name(period: Window) -> str:
    """Return the series of the number of bad events over a window."""
    return f"slo:sli_bad:increase{period.text}"


def of(slo: Slo, series: str) -> str:
    """Return a recorded series of an SLO."""
    return f'{series}{{{ID}="{slo.id}"}}'


def identity(slo: Slo) -> Labels:
    """Return the labels of every rule of an SLO: who it is, and what the specification adds."""
    return tuple(sorted({**dict(slo.labels), ID: slo.id, SERVICE: slo.service, NAME: slo.short_name}.items()))


def recording_groups(slo: Slo) -> tuple[Group, ...]:
    """Return the groups of an SLO without its alerts, in the order in which they depend on one another."""
    return (
        Group(f"sloth-slo-increments-{slo.id}", _increments(slo), STEP.text),
        Group(f"sloth-slo-sli-recordings-{slo.id}", (*_ratios(slo), *_bad_events(slo), _period_ratio(slo))),
        Group(f"sloth-slo-meta-recordings-{slo.id}", _meta(slo)),
    )


def _increments(slo: Slo) -> tuple[Record, ...]:
    """Count events a step at a time: the group's interval is the step, so that no event is counted twice.

    What happens between the last scrape of a step and the first of the next one is in neither (a twentieth of the time
    when each 15 s are scraped, a fifth at 1 min). `increase` extrapolates over it: right on average, wrong for a burst
    that falls there.
    """
    bad, total = slo.sli.bad("increase"), slo.sli.total("increase")
    if slo.sli.kind == "latency":
        # Where the bucket is gone nobody knows which were slow: such a time is no part of the period, not a good one.
        total = f"{total}\nand on ()\n{of(slo, BAD_STEP)}"
    return (
        Record(BAD_STEP, over(bad, STEP), _labels(slo, STEP)),
        Record(TOTAL_STEP, over(total, STEP), _labels(slo, STEP)),
    )


def _ratios(slo: Slo) -> tuple[Record, ...]:
    windows = {*SHOWN, *(side for alert in slo.alerts for side in (alert.short, alert.long))}
    return tuple(
        Record(ratio_name(period), _ratio(slo.sli, period), _labels(slo, period))
        for period in sorted(windows, key=lambda period: period.seconds)
        if period.seconds < slo.window.seconds
    )


def _ratio(sli: Sli, period: Window) -> str:
    # `> 0`: without traffic there is no ratio, where 0 / 0 would be NaN and poison everything made of it.
    return f"{over(sli.bad(), period)}\n/\n({over(sli.total(), period)} > 0)"


def _bad_events(slo: Slo) -> tuple[Record, ...]:
    """Count the bad events of every window that an alert looks back over (alerts.py: FEWEST_BAD)."""
    windows = sorted({alert.long for alert in slo.alerts}, key=lambda period: period.seconds)
    return tuple(Record(bad_name(each), over(slo.sli.bad("increase"), each), _labels(slo, each)) for each in windows)


def _period_ratio(slo: Slo) -> Record:
    period = slo.window.text
    bad, total = (f"sum_over_time({of(slo, series)}[{period}])" for series in (BAD_STEP, TOTAL_STEP))
    return Record(ratio_name(slo.window), f"{bad}\n/\n({total} > 0)", _labels(slo, slo.window))


def _meta(slo: Slo) -> tuple[Record, ...]:
    labels, budget = identity(slo), exact(slo.budget)
    about = {**dict(labels), "sloth_mode": "goshop", "sloth_objective": percent(slo.objective), "sloth_spec": "openslo"}
    return (
        Record("slo:objective:ratio", f"vector({exact(slo.objective)})", labels),
        Record("slo:error_budget:ratio", f"vector({budget})", labels),
        Record("slo:time_period:days", f"vector({_days(slo.window)})", labels),
        Record("slo:current_burn_rate:ratio", f"{of(slo, ratio_name(STEP))} / {budget}", labels),
        Record("slo:period_burn_rate:ratio", f"{of(slo, ratio_name(slo.window))} / {budget}", labels),
        Record("slo:period_error_budget_remaining:ratio", f"1 - {of(slo, 'slo:period_burn_rate:ratio')}", labels),
        Record("sloth_slo_info", "vector(1)", tuple(sorted(about.items()))),
    )


def _days(period: Window) -> str:
    days, rest = divmod(period.seconds, DAY)
    return f"{period.seconds} / {DAY}" if rest else str(days)


def _labels(slo: Slo, period: Window) -> Labels:
    return tuple(sorted({**dict(identity(slo)), SLOTH_WINDOW: period.text}.items()))


def over(expression: str, period: Window) -> str:
    """Return an expression of the model over a window; inside quotes the placeholder is a text like any other."""
    return _PLACE.sub(lambda match: period.text if match[0] == WINDOW else match[0], expression)
