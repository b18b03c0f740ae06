"""Faults on purpose: a share of logical calls meets a slow statement, a failing dependency, a lock or an empty pool.

Grammar: `POINT=KIND[:DURATION][@SHARE%]`, several joined by commas, for example
`product.search=delay:900ms@5%,payment.charge=error@30%`. Whether a call is struck follows from its trace id, so that
every retry of one logical call meets the same fate. Off unless asked for, refused in prod (`app.config`).
"""

import re
from typing import Final, Literal, get_args
from zlib import crc32

import msgspec
from opentelemetry import trace

Kind = Literal["delay", "error", "exhaust", "leak", "lock", "kill"]

# Every point that can be struck, and how. The service is the part before the dot.
POINTS: Final[dict[str, tuple[Kind, ...]]] = {
    "product.search": ("delay", "error"),
    "order.insert": ("delay", "error"),
    "payment.charge": ("delay", "error"),
    "gateway.redis": ("delay", "error"),
    "product.redis": ("delay", "error"),
    "product.pool": ("exhaust", "leak"),
    "order.pool": ("exhaust", "leak"),
    "payment.pool": ("exhaust", "leak"),
    "product.stock": ("lock",),
    "gateway.process": ("kill",),
    "user.process": ("kill",),
    "product.process": ("kill",),
    "order.process": ("kill",),
    "payment.process": ("kill",),
}
_WITH_DURATION: Final = {"delay", "exhaust", "lock", "kill"}
_SPEC: Final = re.compile(
    r"(?P<point>[a-z.]+)=(?P<kind>[a-z]+)(?::(?P<amount>\d+)(?P<unit>ms|s))?(?:@(?P<share>\d+(?:\.\d+)?)%)?"
)


class FaultError(ValueError):
    """A fault specification cannot be read; the message says what was expected."""


class Fault(msgspec.Struct, frozen=True):
    """One fault: where, what, for how many seconds, to which share of calls."""

    point: str
    kind: Kind
    seconds: float = 0.0
    share: float = 1.0

    def strikes(self, trace_id: int) -> bool:
        """Tell whether the logical call with this trace id is struck; the same answer for every retry."""
        return crc32(trace_id.to_bytes(16), crc32(self.point.encode())) < self.share * 2**32


def parse_faults(spec: str) -> tuple[Fault, ...]:
    """Read a specification, "" for none; raises `FaultError`."""
    faults = tuple(_parse(part.strip()) for part in spec.split(",") if part.strip())
    points = [fault.point for fault in faults]
    if twice := {point for point in points if points.count(point) > 1}:
        raise FaultError(f"{', '.join(sorted(twice))}: one fault a point")
    return faults


def _parse(text: str) -> Fault:
    match = _SPEC.fullmatch(text)
    if match is None:
        raise FaultError(f"{text!r} is not POINT=KIND[:DURATION][@SHARE%], such as product.search=delay:900ms@5%")
    point, kind = match["point"], match["kind"]
    if point not in POINTS:
        raise FaultError(f"{text!r}: there is no point {point!r}; there are {', '.join(POINTS)}")
    if kind not in POINTS[point]:
        raise FaultError(f"{text!r}: {point} takes {' or '.join(POINTS[point])}, not {kind!r}")
    if (kind in _WITH_DURATION) != (match["amount"] is not None):
        raise FaultError(f"{text!r}: {kind} {'needs a' if kind in _WITH_DURATION else 'takes no'} duration")
    seconds = float(match["amount"] or 0) / (1000 if match["unit"] == "ms" else 1)
    share = float(match["share"] or 100) / 100
    if share > 1:
        raise FaultError(f"{text!r}: a share is at most 100 %")
    return Fault(point, next(k for k in get_args(Kind) if k == kind), seconds, share)


class Faults:
    """The faults of one service. `armed` is False until the load begins where a gate prepares data first."""

    __slots__ = ("_faults", "armed")

    def __init__(self, faults: tuple[Fault, ...] = (), *, armed: bool = True) -> None:
        self._faults = {fault.point: fault for fault in faults}
        self.armed = armed

    def __bool__(self) -> bool:
        return bool(self._faults)

    def __iter__(self):  # type: ignore[no-untyped-def]  # noqa: ANN204 - dict views have no short public type
        return iter(self._faults.values())

    def at(self, point: str) -> Fault | None:
        """Return the fault that strikes the current logical call at this point, if one does."""
        if not self.armed or (fault := self._faults.get(point)) is None:
            return None
        return fault if fault.strikes(trace.get_current_span().get_span_context().trace_id) else None
