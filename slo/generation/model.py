"""Rules as Prometheus knows them (https://prometheus.io/docs/prometheus/latest/configuration/recording_rules/)."""

from dataclasses import dataclass
from typing import Final

Labels = tuple[tuple[str, str], ...]

# Prometheus' own default is a minute; nothing here is said without a reason.
DEFAULT_INTERVAL: Final = ""


class UnsayableError(ValueError):
    """What a specification says can't be said in the form that was asked for; the message names it and says why."""


@dataclass(frozen=True, slots=True)
class Record:
    """A recording rule: the series `name` with `labels` is what `expr` gives."""

    name: str
    expr: str
    labels: Labels


@dataclass(frozen=True, slots=True)
class Alert:
    """An alerting rule; `hold` is how long `expr` must have held ("5m", "" at once). Annotations are templates."""

    name: str
    expr: str
    hold: str
    labels: Labels
    annotations: Labels


@dataclass(frozen=True, slots=True)
class Group:
    """Rules that are evaluated one after another, at one time, each `interval` ("" is the server's own)."""

    name: str
    rules: tuple[Record | Alert, ...]
    interval: str = DEFAULT_INTERVAL
