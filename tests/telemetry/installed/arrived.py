"""What has arrived of an application: its requests as spans, its metrics as a scrape has them."""

import re
from typing import Any

import httpx


def metrics_of(process: Any) -> list[str]:
    """Scrape every address that the process has said its metrics are at."""
    found = re.findall(r"metrics are at (\S+/metrics)", process.stdout)
    return [httpx.get(url, headers={"accept": "application/openmetrics-text"}).text for url in found]


def servers(collector: Any) -> list[Any]:
    return [span for span in collector.spans if span.kind == "SERVER"]
