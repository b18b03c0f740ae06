"""What the services of a shop count of their own spans and log lines."""

from collections import Counter

import httpx

from goshop.shop import Shop
from telemetry import conventions as c

_COUNTED = (c.SPANS_ENDED, c.SPANS_EXPORTED, c.SPANS_DROPPED, c.SPANS_QUEUED, c.LOG_LINES_LOST)


def counted_by(shop: Shop, service: str) -> Counter[str]:
    """Return what a service says of its spans (ended, exported, dropped, queued) and of lines that it lost."""
    totals: Counter[str] = Counter()
    text = httpx.get(f"{shop.internal[service]}/metrics", trust_env=False, timeout=10.0).text
    for line in text.splitlines():
        for name in _COUNTED:
            if line.startswith((f"{name} ", f"{name}{{")):
                totals[name] += int(float(line.rpartition(" ")[2]))
    return totals


def counted(shop: Shop) -> Counter[str]:
    """Return the sums over all services."""
    totals: Counter[str] = Counter()
    for service in shop.internal:
        totals += counted_by(shop, service)
    return totals


def waiting(shop: Shop) -> int:
    """Return how many spans were neither exported nor dropped yet."""
    totals = counted(shop)
    return totals[c.SPANS_ENDED] - totals[c.SPANS_EXPORTED] - totals[c.SPANS_DROPPED]
