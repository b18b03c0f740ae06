"""Gate files: which objectives a release must meet, read strictly from `slo/gates/*.yaml`.

Every fault of a file is reported at once, as `file:line:column: what was expected`; the command exits with 2.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Final, Literal

import msgspec

from slo.schema import check
from slo.strict_yaml import Document, Path_, StrictYamlError, read_document

Indicator = Literal["latency", "errors", "throughput"]
Operator = Literal["<=", "<", ">=", ">"]

SECONDS: Final = "s"
RATIO: Final = "ratio"
PER_SECOND: Final = "requests/s"

_TARGET: Final = re.compile(r"(?P<op><=|>=|<|>)\s*(?P<number>\d+(?:\.\d+)?)\s*(?P<unit>ms|s|%|requests/s)")
_FACTORS: Final = {"ms": Decimal("0.001"), "s": Decimal(1), "%": Decimal("0.01"), "requests/s": Decimal(1)}
# What each indicator's target looks like: operators, units, unit in the verdict, an example for the message.
_FORMS: Final[dict[Indicator, tuple[set[str], set[str], str, str]]] = {
    "latency": ({"<=", "<"}, {"ms", "s"}, SECONDS, "<= 800 ms"),
    "errors": ({"<=", "<"}, {"%"}, RATIO, "< 1 %"),
    "throughput": ({">=", ">"}, {"requests/s"}, PER_SECOND, "> 100 requests/s"),
}

Name = Annotated[str, msgspec.Meta(pattern=r"^[a-z][a-z0-9-]{0,62}$")]
Endpoint = Annotated[str, msgspec.Meta(pattern=r"^[A-Z]+ /\S*$")]
Percentile = Annotated[float, msgspec.Meta(gt=0, lt=100)]


class GateError(StrictYamlError):
    """A gate file can't be used; `messages` has every fault, each `file:line:column: what was expected`."""


class ObjectiveEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One objective as the file spells it."""

    name: Name
    indicator: Indicator
    target: str
    percentile: Percentile | None = None
    endpoint: Endpoint | None = None


class GateFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """A gate file as it is spelled."""

    api_version: Literal["goshop/v1"]
    kind: Literal["Gate"]
    name: Name
    script: str
    objectives: Annotated[tuple[ObjectiveEntry, ...], msgspec.Meta(min_length=1)]
    profile: Name = "smoke"


@dataclass(frozen=True, slots=True)
class Objective:
    """What must hold: `target` in s, as a share, or in requests/s; `endpoint` "" means over all requests.

    `budget` is the share of requests that may be bad; None for a throughput, whose budget follows from what is offered.
    """

    name: str
    indicator: Indicator
    op: Operator
    target: float
    unit: str
    budget: float | None
    percentile: float | None = None
    endpoint: str = ""


@dataclass(frozen=True, slots=True)
class Gate:
    """A gate: its load script (absolute path), the profile it takes by default, and its objectives."""

    name: str
    file: str
    script: Path
    profile: str
    objectives: tuple[Objective, ...]

    @property
    def latency_target(self) -> float | None:
        """The strictest latency target in s, if there is one."""
        return min((goal.target for goal in self.objectives if goal.indicator == "latency"), default=None)

    @property
    def throughput_target(self) -> float | None:
        """The highest throughput target in requests/s, if there is one; a load that can't reach it is a usage error."""
        return max((goal.target for goal in self.objectives if goal.indicator == "throughput"), default=None)


def load_gate(path: Path) -> Gate:
    """Read a gate file; raises `GateError` with every fault of the file."""
    try:
        document = read_document(path)
        entries = check(document, GateFile)
        return _gate(path, document, entries)
    except StrictYamlError as error:
        raise GateError(error.messages) from None
    except OSError as error:
        raise GateError([f"{path}:1:1: cannot be read: {error.strerror}"]) from None


def _gate(path: Path, document: Document, entries: GateFile) -> Gate:
    faults: list[str] = []
    objectives = []
    for index, entry in enumerate(entries.objectives):
        at: Path_ = ("objectives", index)
        own = list(_entry_faults(document, at, entry, entries.objectives[:index]))
        faults += own
        if not own:
            objectives.append(_objective(entry))
    script = (path.parent / entries.script).resolve()
    if not script.is_file():
        faults.append(document.locate(("script",), f"there is no such file: {script}"))
    if faults:
        raise StrictYamlError(faults)
    return Gate(entries.name, str(path), script, entries.profile, tuple(objectives))


def _entry_faults(
    document: Document, at: Path_, entry: ObjectiveEntry, before: tuple[ObjectiveEntry, ...]
) -> Iterator[str]:
    if any(other.name == entry.name for other in before):
        yield document.locate((*at, "name"), f"the name {entry.name!r} is taken by another objective")
    if (entry.percentile is not None) != (entry.indicator == "latency"):
        yield document.locate(at, "a percentile belongs to a latency objective, and to no other")
    if entry.endpoint and entry.indicator == "throughput":
        yield document.locate((*at, "endpoint"), "throughput is judged over all requests")
    match = _TARGET.fullmatch(entry.target)
    operators, units, _, example = _FORMS[entry.indicator]
    if match is None or match["op"] not in operators or match["unit"] not in units:
        yield document.locate((*at, "target"), f"expected a target such as {example!r}, got {entry.target!r}")
    elif not _within_range(entry.indicator, match):
        yield document.locate((*at, "target"), f"{entry.target!r} is out of range")


def _within_range(indicator: Indicator, match: re.Match[str]) -> bool:
    value = Decimal(match["number"])
    return 0 < value < 100 if indicator == "errors" else value > 0  # noqa: PLR2004 - per cent


def _objective(entry: ObjectiveEntry) -> Objective:
    match = _TARGET.fullmatch(entry.target)
    if match is None:
        raise AssertionError(entry.target)
    target = float(Decimal(match["number"]) * _FACTORS[match["unit"]])
    op: Operator = msgspec.convert(match["op"], Operator)
    unit = _FORMS[entry.indicator][2]
    budget = _budget(entry, target)
    return Objective(entry.name, entry.indicator, op, target, unit, budget, entry.percentile, entry.endpoint or "")


def _budget(entry: ObjectiveEntry, target: float) -> float | None:
    """Return the share of requests that may be bad, in decimal: 100 - 99.9 in binary is 0.09999999999999432."""
    if entry.percentile is not None:
        return float((100 - Decimal(str(entry.percentile))) / 100)
    return target if entry.indicator == "errors" else None
