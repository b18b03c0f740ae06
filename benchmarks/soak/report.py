"""What is told of a soak: tables as text and as Markdown, and everything as JSON."""

import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from benchmarks.soak.phase import Check, Phase, Plan

WORK = """A real uvicorn worker (uvloop, httptools) with the telemetry layer around a Litestar application: of ten requests six plain, two with a
background task that makes a span of its own, one streamed, one failing. The load is a bounded number of connections that send the
next request after the answer to the one before; the collector speaks OTLP over HTTP. All of it on the loopback interface; the
server has a CPU for itself (two servers at once share it while a collector is in trouble), load and collectors another one."""


@dataclass(frozen=True)
class Report:
    """A soak, ready to be told; `remarks` say what else is to be known about it."""

    plan: Plan
    phases: Sequence[Phase]
    machine: dict[str, str]
    load_average: tuple[float, float]
    remarks: Sequence[str] = ()

    @property
    def met(self) -> bool:
        """Whether every criterion of every phase is met."""
        return all(phase.met for phase in self.phases)

    def text(self) -> str:
        """Return the report for a terminal."""
        parts = [f"{section}\n{_plain(_rows(phases))}" for section, phases in self._sections()]
        return "\n\n".join([*parts, *self._shortfalls()])

    def markdown(self) -> str:
        """Return the report for a page."""
        parts = ["# Soak: the telemetry layer under load, for long, in trouble", WORK, self._conditions()]
        for section, phases in self._sections():
            parts += [f"## {section}", _piped(_rows(phases)), _criteria(phases)]
        return "\n\n".join([*parts, "## Verdict", *self._shortfalls()]) + "\n"

    def json(self) -> str:
        """Return the report for a program."""
        told = {
            "machine": self.machine,
            "load_average": self.load_average,
            "remarks": list(self.remarks),
            "plan": dataclasses.asdict(self.plan),
            "phases": [dataclasses.asdict(phase) for phase in self.phases],
            "met": self.met,
        }
        return json.dumps(told, indent=1) + "\n"

    def write(self, folder: Path) -> None:
        """Write `soak.json` and `soak.md`."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "soak.json").write_text(self.json())
        (folder / "soak.md").write_text(self.markdown())

    def _sections(self) -> list[tuple[str, list[Phase]]]:
        return [(section, list(phases)) for section, phases in groupby(self.phases, lambda phase: phase.section)]

    def _conditions(self) -> str:
        m, plan = self.machine, self.plan
        before, after = self.load_average
        told = f"""\
{m["cpu"]}, {m["cores"]} cores, {m["system"]}, {m["python"]}, {m["date"]}; load average {before:.1f} at the start, {after:.1f} at the end.
Each trouble lasted {plan.trouble:.0f} s, the steady load {plan.steady:.0f} s at {plan.rate:.0f} requests/s; {plan.distinct:,} distinct
requests of each kind."""
        return "\n".join([told, *self.remarks])

    def _shortfalls(self) -> list[str]:
        missed = [(phase, check) for phase in self.phases for check in phase.checks if not check.met]
        count = sum(len(phase.checks) for phase in self.phases)
        lines = [f"{count - len(missed)} of {count} criteria are met."]
        lines += [f"NOT MET  {phase.section}, {phase.name}: {check.text}: {check.measured}" for phase, check in missed]
        return ["\n\n".join(lines)]


def _rows(phases: Sequence[Phase]) -> list[tuple[str, ...]]:
    names = list(dict.fromkeys(name for phase in phases for name in phase.figures))
    rows = [("", *names, "met")]
    for phase in phases:
        met = sum(check.met for check in phase.checks)
        values = (str(phase.figures.get(name, "")) for name in names)
        rows.append((phase.name, *values, f"{met}/{len(phase.checks)}"))
    return rows


def _criteria(phases: Sequence[Phase]) -> str:
    texts: dict[str, list[Check]] = {}
    for phase in phases:
        for check in phase.checks:
            texts.setdefault(check.text, []).append(check)
    return "\n".join(f"- {text}: {_outcome(checks)}" for text, checks in texts.items())


def _outcome(checks: Sequence[Check]) -> str:
    met = sum(check.met for check in checks)
    return "met" if met == len(checks) else f"{met} of {len(checks)} met"


def _plain(rows: Sequence[tuple[str, ...]]) -> str:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join("  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) for row in rows)


def _piped(rows: Sequence[tuple[str, ...]]) -> str:
    ruler = ["---", *["---:"] * (len(rows[0]) - 1)]
    return "\n".join(f"| {' | '.join(row)} |" for row in [rows[0], tuple(ruler), *rows[1:]])
