"""A process whose collector is dead, whose queue is short and whose disk is full: `python -m tests.stack.losing`.

It prints the port where its metrics are, loses spans and lines for each line that it reads, and ends with its standard input.
"""

import logging
import os
import sys
from pathlib import Path

from prometheus_client import CollectorRegistry

from telemetry import Telemetry, configure
from telemetry.metrics_server import MetricsServer

# More than the queue holds.
LOST = 500
FULL_DISK = Path("/dev/full")
DEAD = {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://127.0.0.1:1/v1/traces", "OTEL_BSP_MAX_QUEUE_SIZE": "16"}


def main() -> None:
    os.environ |= DEAD
    registry = CollectorRegistry()
    with FULL_DISK.open("w") as stream:
        telemetry = configure("losing", registry=registry, stream=stream)
        server = MetricsServer("127.0.0.1", 0, registry)
        sys.stdout.write(f"{server.port}\n")
        sys.stdout.flush()
        for _ in sys.stdin:
            lose(telemetry)
        server.close()


def lose(telemetry: Telemetry) -> None:
    for _ in range(LOST):
        with telemetry.tracer.start_as_current_span("lost"):
            logging.getLogger("losing").debug("a span that nobody gets")
    logging.getLogger("losing").warning("a line that nobody can write")


if __name__ == "__main__":
    main()
