"""Counters as a Prometheus has scraped them: what was counted in each block of a window, by differences of raw samples."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Series:
    """One series: its labels, and its samples as (unix s, value) in order of time."""

    labels: Mapping[str, str]
    samples: tuple[tuple[float, float], ...]
