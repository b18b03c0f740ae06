"""Sends what a run wrote into its folder of spans to a collector too, where OpenTelemetry's variables name one.

During the load spans go into files alone: a collector that is slow or away must not be part of what is measured. Afterwards
the same bytes go to OTEL_EXPORTER_OTLP_ENDPOINT, so that links from the reports lead to traces.
"""

import os
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from google.protobuf.message import DecodeError

from goshop.measurement import tell
from telemetry.exporters import ConfigurationError, exporter_from
from telemetry.span_queue import FIRST_BACKOFF, Exporter, Rejected, Unavailable
from telemetry.spans import count_spans, read_batches

# All of it together.
SECONDS: Final = 60.0
# Of tries for one batch; a collector that is away for longer is away.
PATIENCE: Final = 5.0
# No time-out may be 0.
LEAST: Final = 0.01


@dataclass(slots=True)
class Sent:
    """How many spans were taken, and how many not, with one reason of it; `unread` batches are none."""

    taken: int = 0
    lost: int = 0
    unread: int = 0
    problem: str = ""


def forward(folder: Path, environ: Mapping[str, str] = os.environ, seconds: float = SECONDS) -> Sent:
    """Send every batch of the files in a folder of spans, and tell people what was not taken; nothing without a collector."""
    try:
        exporter = exporter_from(environ)
    except (ConfigurationError, OSError) as error:
        tell(f"the run's spans are sent to no collector: {error}")
        return Sent(problem=str(error))
    if exporter is None:
        return Sent()
    try:
        sent = _send(folder, exporter, seconds)
    finally:
        exporter.close()
    if sent.unread:
        batches = "1 batch" if sent.unread == 1 else f"{sent.unread} batches"
        tell(f"{batches} of the run's spans cannot be read, and {'was' if sent.unread == 1 else 'were'} not sent")
    if sent.lost:
        tell(f"{sent.lost} of {sent.lost + sent.taken} spans of the run did not get to the collector: {sent.problem}")
    return sent


def _send(folder: Path, exporter: Exporter, seconds: float) -> Sent:
    sent, given_up, ends = Sent(), False, time.monotonic() + seconds
    for batch in _batches(folder):
        try:
            spans = count_spans(batch)
        except DecodeError:
            sent.unread += 1
            continue
        if not given_up and time.monotonic() >= ends:
            sent.problem, given_up = f"after {seconds:g} s there was no time for the rest", True
        refused = spans
        if not given_up:
            try:
                refused = _deliver(exporter, batch, spans, ends)
                sent.problem = "it refused them" if refused else sent.problem
            except (Rejected, Unavailable) as error:
                sent.problem, given_up = str(error), isinstance(error, Unavailable)
        sent.lost += refused
        sent.taken += spans - refused
    return sent


def _deliver(exporter: Exporter, batch: bytes, spans: int, ends: float) -> int:
    """Send one batch, again while there is time; return how many of its spans were refused."""
    ends, backoff = min(ends, time.monotonic() + PATIENCE), FIRST_BACKOFF
    while True:
        try:
            return exporter.export(batch, spans, max(LEAST, ends - time.monotonic()))
        except Unavailable:
            if time.monotonic() + backoff >= ends:
                raise
            time.sleep(backoff)
            backoff *= 2


def _batches(folder: Path) -> Iterator[bytes]:
    for path in sorted(folder.glob("*.otlp")):
        with path.open("rb") as file:
            yield from read_batches(file)
