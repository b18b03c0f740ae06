"""PromQL as text, over what `telemetry.conventions` names and the specification's rules record.

Nothing here counts with `increase`: it extrapolates, and a count that is shown as one would be a number that never was.
A request by HTTP and a call by gRPC are both *calls* of a service, by `method` and `endpoint`; gRPC's method is "gRPC".
"""

from collections.abc import Iterable
from decimal import Decimal
from typing import Final

from slo.generation.numbers import exact
from slo.openslo.known_series import BUCKET, COUNT, SUM, TARGET_LABELS
from slo.openslo.promql import Matcher, Selector
from telemetry import conventions as c

SERVICE, ENVIRONMENT, INSTANCE, JOB = TARGET_LABELS
METHOD, ENDPOINT, STATUS = c.HTTP_LABELS
RPC_SERVICE, RPC_METHOD, RPC_STATUS = c.RPC_LABELS
OPERATION, TABLE = c.DB_QUERY_LABELS
ERROR: Final = c.DB_ERROR_LABELS[1]
COMMAND, OUTCOME = c.REDIS_LABELS
(STATE,) = c.POOL_LABELS
(REASON,) = c.REFUSED_LABELS
BOUND: Final = c.BOUND_LABEL

# What Prometheus says of its targets, and the client library of its process; no names of ours.
UP: Final = "up"
SCRAPE_DURATION: Final = "scrape_duration_seconds"
CPU: Final = "process_cpu_seconds_total"
MEMORY: Final = "process_resident_memory_bytes"
ALERTS: Final = "ALERTS"
# A statement that took longer is slow: an edge of the buckets (telemetry.conventions), in s and in words.
SLOW: Final = 0.2
SLOW_IN_WORDS: Final = f"{SLOW * 1000:g} ms"
FOREIGN: Final = (UP, SCRAPE_DURATION, CPU, MEMORY, ALERTS)
# As our configurations of Prometheus name the scrape.
OURS: Final = Matcher(JOB, "=", "goshop")

# At least four scrapes, and the distance of two points: https://grafana.com/docs/grafana/latest/datasources/prometheus/
RATE: Final = "$__rate_interval"
RANGE: Final = "$__range"
GRPC: Final = "gRPC"
CHOSEN: Final = (Matcher(ENVIRONMENT, "=~", "$environment"), Matcher(SERVICE, "=~", "$service"))
# Errors of the server; what is declined, not allowed or not found is none.
HTTP_ERRORS: Final = Matcher(STATUS, "=~", "5..")
RPC_ERRORS: Final = Matcher(RPC_STATUS, "=~", "UNKNOWN|DEADLINE_EXCEEDED|UNIMPLEMENTED|INTERNAL|UNAVAILABLE|DATA_LOSS")


def where(metric: str, *matchers: Matcher, suffix: str = "") -> str:
    """Return the chosen services' series of a metric, or of its histogram's `suffix`."""
    return str(Selector(metric + suffix, tuple(sorted((*CHOSEN, *matchers)))))


def rate(metric: str, *matchers: Matcher, suffix: str = "", window: str = RATE) -> str:
    """Return how much a counter of the chosen services rises each second."""
    return f"rate({where(metric, *matchers, suffix=suffix)}[{window}])"


def summed(expression: str, *by: str) -> str:
    """Return the sum over everything but the labels `by`."""
    return f"sum by ({', '.join(by)}) ({expression})" if by else f"sum({expression})"


def share(part: str, whole: str) -> str:
    """Return part of whole, 0 to 1; nothing where there is nothing, and not NaN."""
    return f"{part}\n/\n({whole} > 0)"


def quantile(part: float, buckets: str, *by: str) -> str:
    """Return a percentile in s of buckets (a rate over each), by labels; nothing where nothing happened, and not NaN."""
    return f"(histogram_quantile({part}, {summed(buckets, BOUND, *by)}) >= 0)"


def calls(suffix: str, *, failed: bool = False, window: str = RATE) -> str:
    """Return the rate of what the chosen services were asked, by HTTP and gRPC, as series by `method` and `endpoint`."""
    http, rpc = ((HTTP_ERRORS,), (RPC_ERRORS,)) if failed else ((), ())
    asked = rate(c.HTTP_REQUEST_DURATION, *http, suffix=suffix, window=window)
    called = rate(c.RPC_SERVER_DURATION, *rpc, suffix=suffix, window=window)
    return f"({asked} or {_as_route(called)})"


def error_share(window: str, *by: str) -> str:
    """Return which share of the calls failed, 0 to 1, by labels."""
    failed, whole = (summed(calls(COUNT, failed=flag, window=window), *by) for flag in (True, False))
    return share(failed, whole)


def _as_route(series: str) -> str:
    named = f'label_replace({series}, "{ENDPOINT}", "$1", "{RPC_METHOD}", "(.*)")'
    return f'label_replace({named}, "{METHOD}", "{GRPC}", "", "")'


def slower_than(metric: str, edge: float, *by: str, window: str = RATE) -> str:
    """Return the rate of observations of a histogram above an edge of its buckets in s."""
    fast = rate(metric, Matcher(BOUND, "=", repr(edge)), suffix=BUCKET, window=window)
    return f"({summed(rate(metric, suffix=COUNT, window=window), *by)} - {summed(fast, *by)})"


def mean(metric: str, *by: str, window: str = RATE) -> str:
    """Return the mean of a histogram's observations."""
    observed = summed(rate(metric, suffix=COUNT, window=window), *by)
    return share(summed(rate(metric, suffix=SUM, window=window), *by), observed)


def filled_in(series: str, label: str, value: str) -> str:
    """Return series that have a value where a label is empty."""
    return f'label_replace({series}, "{label}", "{value}", "{label}", "")'


def of_each_service(values: Iterable[tuple[str, Decimal]]) -> str:
    """Return a number for each service, as series by `service`."""
    named = (f'label_replace(vector({exact(value)}), "{SERVICE}", "{name}", "", "")' for name, value in values)
    return f"({' or '.join(named)})"


def over_its_service_s(part: str, values: Iterable[tuple[str, Decimal]]) -> str:
    """Return series by `service`, and other labels, over their service's number; nothing for services without one."""
    return f"{part}\n/ on ({SERVICE}) group_left ()\n{of_each_service(values)}"


def greatest(expression: str, *by: str) -> str:
    """Return the greatest over everything but the labels `by`."""
    return f"max by ({', '.join(by)}) ({expression})"


def recorded(series: str, *matchers: Matcher) -> str:
    """Return what the specification's rules record of the chosen services; their label for it is Sloth's."""
    return str(Selector(series, tuple(sorted((Matcher("sloth_service", "=~", "$service"), *matchers)))))


def tag(label: str) -> str:
    """Return a label's place in a legend."""
    return "{{" + label + "}}"
