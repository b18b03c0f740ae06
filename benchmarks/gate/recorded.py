"""Runs of the real shop, recorded: the latency of every request, kept small enough to be committed.

One JSON document: what it was recorded with, and a line for each run. Latencies are integers of 10 us in the order in
which the requests were started; they are written byte by byte of equal weight (all low bytes first, which is what makes
them compress), packed by zlib and spelled in base64.
"""

import base64
import math
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec

from slo.pairs import Run

UNIT: Final = 1e-5
BYTES: Final = 3
# Stands for a request that failed; the longest latency that is kept as it is ends 10 us before it, at 168 s.
LOST: Final = 256**BYTES - 1


class RecordedRun(msgspec.Struct, frozen=True, kw_only=True):
    """One run: `latencies` and `endpoints` are packed, of all judged requests in the order of their starts.

    `started` is unix s, `failed` how many were answered badly or not at all, `cpu_share` the load generator's part of all
    the CPU time that there was, `others` that of everything that had no part in it, `cpu_wait` how long one request waited on
    average for the load generator to get a CPU, in s.
    """

    started: float
    failed: int
    cpu_share: float
    others: float
    cpu_wait: float | None
    latencies: str
    endpoints: str

    def seconds(self) -> list[float]:
        """Return the latencies in s, infinite for requests that failed."""
        return unpack(self.latencies)

    def run(self) -> Run:
        """Return the run as a comparison takes it."""
        return Run.of(self.seconds())


class Pool(msgspec.Struct, frozen=True, kw_only=True):
    """Runs of one release on one machine, one after the other.

    `endpoints` are the names that the numbers in a run stand for; `refused` says why runs were left out. `changed` are
    runs of the same shop, afterwards, with `fault` in it: a new slow path.
    """

    machine: dict[str, str]
    commit: str
    k6: str
    rate: float
    seconds: float
    warmup: float
    endpoints: list[str]
    refused: list[str]
    runs: list[RecordedRun]
    fault: str = ""
    changed: list[RecordedRun] = []

    def write(self, path: Path) -> None:
        """Replace the document, whole or not at all: a line for each run."""
        members = (f"{_encoded(name)}: {_member(getattr(self, name))}" for name in self.__struct_fields__)
        new = path.with_suffix(".new")
        new.write_text("{\n " + ",\n ".join(members) + "\n}\n")
        new.replace(path)


def read_pool(path: Path) -> Pool:
    """Return the pool that a document holds; raises OSError and `msgspec.DecodeError`."""
    return msgspec.json.decode(path.read_bytes(), type=Pool)


def pack(latencies: Sequence[float]) -> str:
    """Pack latencies in s; an infinite one is a request that failed."""
    return pack_numbers([_units(latency) for latency in latencies], BYTES)


def unpack(text: str) -> list[float]:
    """Return the latencies in s that `pack` has packed."""
    # Divided by a whole number: 123 * 1e-5 is not the float that is written 0.00123.
    return [math.inf if units == LOST else units / round(1 / UNIT) for units in unpack_numbers(text, BYTES)]


def pack_numbers(numbers: Sequence[int], width: int) -> str:
    """Pack whole numbers of `width` bytes each."""
    planes = b"".join(bytes(number >> 8 * place & 255 for number in numbers) for place in range(width))
    return base64.b64encode(zlib.compress(planes, 9)).decode()


def unpack_numbers(text: str, width: int) -> list[int]:
    """Return the numbers that `pack_numbers` has packed."""
    planes = zlib.decompress(base64.b64decode(text, validate=True))
    count = len(planes) // width
    places = [planes[count * place : count * (place + 1)] for place in range(width)]
    return [int.from_bytes(each, "little") for each in zip(*places, strict=True)]


def _encoded(value: object) -> str:
    return msgspec.json.encode(value).decode()


def _member(value: object) -> str:
    if not isinstance(value, list) or not value:
        return _encoded(value)
    return "[\n  " + ",\n  ".join(map(_encoded, value)) + "\n ]"


def _units(latency: float) -> int:
    return LOST if math.isinf(latency) else min(round(latency / UNIT), LOST - 1)
