"""What every phase of a soak is given, and what it returns: figures, and criteria that are met or not."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Plan:
    """How long and how hard; times in seconds.

    `rate` bounds the requests a second of the steady load, `hasty_rate` those of all other loads (0: as fast as answers
    come). `queue` is the server's bound of spans. Where `judge_speed` is off, throughput is told and not judged.
    """

    trouble: float = 60.0
    steady: float = 600.0
    ending: float = 5.0
    distinct: int = 100_000
    rate: float = 1_000.0
    hasty_rate: float = 0.0
    queue: int = 65_536
    samples: int = 40
    judge_speed: bool = True
    cpu: int | None = None


@dataclass(frozen=True)
class Check:
    """A criterion, what was found, and whether that is enough."""

    text: str
    measured: str
    met: bool


@dataclass(frozen=True)
class Phase:
    """What came out of a phase; those of one section have the same figures."""

    section: str
    name: str
    figures: Mapping[str, str | float]
    checks: tuple[Check, ...]

    @property
    def met(self) -> bool:
        """Whether every criterion is met."""
        return all(check.met for check in self.checks)


@dataclass(frozen=True)
class Place:
    """Where phases leave what they need: a folder for the servers' last books."""

    plan: Plan
    folder: Path


def equal(text: str, **values: int) -> Check:
    """Return the criterion that counts of the same thing, made in several places, are the same."""
    told = " = ".join(f"{value} {name.replace('_', ' ')}" for name, value in values.items())
    return Check(text, told, len(set(values.values())) == 1)


def at_most(text: str, value: float, limit: float, unit: str = "") -> Check:
    """Return the criterion that a value is within its limit."""
    return Check(text, f"{value:.4g}{unit} (limit {limit:.4g}{unit})", value <= limit)
