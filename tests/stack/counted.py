"""What services would have exported, as OpenMetrics with time stamps: each series says its value at each scrape, None for none."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

COUNT = "http_request_duration_seconds_count"
BUCKET = "http_request_duration_seconds_bucket"
# As the scrape configuration and Prometheus would have added them.
TARGET = {"service": "gateway", "environment": "dev", "job": "shop", "instance": "a:1"}
ROUTE = {"method": "GET", "endpoint": "/api/products", "status_code": "200"}
EDGES = ("0.25", "0.5", "0.8", "1.0", "+Inf")


@dataclass(frozen=True)
class Counter:
    """A series: the value at a scrape that comes `at` s after the beginning, None where it was not there."""

    name: str
    labels: dict[str, str]
    value: Callable[[float], float | None]

    def lines(self, times: Iterable[float], begin: float) -> str:
        labels = ",".join(f'{name}="{value}"' for name, value in self.labels.items())
        found = ((at, self.value(at - begin)) for at in times)
        return "".join(f"{self.name}{{{labels}}} {value} {at}\n" for at, value in found if value is not None)


def requests(
    total: Callable[[float], float | None], *, slow: float = 0.0, edges: tuple[str, ...] = EDGES, **labels: str
) -> list[Counter]:
    """Return count and buckets of a histogram; a share of `slow` takes longer than 800 ms."""
    named = TARGET | ROUTE | labels
    shares = {"0.25": 0.9, "0.5": 0.95, "0.8": 1 - slow, "1.0": 1 - slow / 2, "+Inf": 1.0}

    def part(share: float) -> Callable[[float], float | None]:
        return lambda at: None if (value := total(at)) is None else round(value * share)

    buckets = [Counter(BUCKET, named | {"le": edge}, part(shares[edge])) for edge in edges]
    return [Counter(COUNT, named, part(1.0)), *buckets]


def up(value: Callable[[float], float | None] = lambda _: 1, **labels: str) -> list[Counter]:
    """Return what Prometheus itself records of a target."""
    return [Counter("up", TARGET | labels, value)]


def openmetrics(counters: Iterable[Counter], begin: float, end: float, step: float) -> str:
    """Return the text of all scrapes from `begin` to `end` (unix s), each `step` s."""
    times = [begin + step * index for index in range(int((end - begin) / step) + 1)]
    names: dict[str, list[Counter]] = {}
    for counter in counters:
        names.setdefault(counter.name, []).append(counter)
    families = (
        f"# TYPE {name} unknown\n" + "".join(each.lines(times, begin) for each in found)
        for name, found in names.items()
    )
    return "".join(families) + "# EOF\n"
