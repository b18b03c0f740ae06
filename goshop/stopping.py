"""Ends a load that fails grossly, instead of sending the rest of it into a release that cannot pass any more.

Looked at whenever 5 s of the judged time have ended, by the test of `slo.early_stop`, which may be looked at that often.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from typing import Final

from slo.early_stop import EarlyStop, early_stop
from slo.gates import Gate, Objective
from slo.judge import concerns, is_bad
from slo.sample import Sample, is_judged
from slo.statistics import BLOCK_SECONDS, Block

# k6 writes its samples out once a second; a block has ended when its last ones are there.
_WRITTEN_SECONDS: Final = 1.5


class GrossFailure:
    """Decides while the load runs whether to go on; afterwards says which objectives ended it."""

    def __init__(self, gate: Gate, clock: Callable[[], float] = time.time) -> None:
        """Look at the objectives of `gate`; `clock` gives unix s."""
        self._clock = clock
        self._objectives = [objective for objective in gate.objectives if objective.budget]
        self._begin: float | None = None
        self._looked = 0
        # Why the load was ended, by the name of the objective.
        self.reasons: dict[str, str] = {}
        # Unix s at which that was decided.
        self.at: float | None = None

    def __call__(self, samples: Sequence[Sample]) -> bool:
        """Tell whether to end the load, from all samples so far."""
        if self._begin is None:
            self._begin = min((sample.start for sample in samples if is_judged(sample)), default=None)
        if self._begin is None or self.reasons:
            return bool(self.reasons)
        ended = int((self._clock() - _WRITTEN_SECONDS - self._begin) / BLOCK_SECONDS)
        if ended > self._looked:
            self._looked = ended
            self.reasons = dict(self._found(samples, self._begin, ended))
            self.at = self._clock() if self.reasons else None
        return bool(self.reasons)

    def seconds(self, begin: float, planned: float) -> float:
        """Return how long the judged load lasted that began at `begin`: as planned unless it was ended."""
        return planned if self.at is None else min(planned, self.at - begin)

    def _found(self, samples: Sequence[Sample], begin: float, ended: int) -> Iterator[tuple[str, str]]:
        for objective in self._objectives:
            blocks = ended_blocks(objective, samples, begin, ended)
            found = early_stop(blocks, objective.budget or 0.0)
            if found.stop:
                yield objective.name, _reason(blocks, found)


def ended_blocks(objective: Objective, samples: Sequence[Sample], begin: float, count: int) -> tuple[Block, ...]:
    """Return the first `count` blocks of 5 s from `begin` (unix s), of what counts for an objective."""
    totals, bads = [0] * count, [0] * count
    for sample in samples:
        index = int((sample.start - begin) // BLOCK_SECONDS)
        if 0 <= index < count and is_judged(sample) and concerns(objective, sample):
            totals[index] += 1
            bads[index] += is_bad(objective, sample)
    return tuple(map(Block, totals, bads))


def _reason(blocks: Sequence[Block], found: EarlyStop) -> str:
    total, bad = sum(block.total for block in blocks), sum(block.bad for block in blocks)
    seconds = len(blocks) * BLOCK_SECONDS
    return (
        f"stopped early: {bad} of the {total} requests of the first {seconds:.0f} s are bad, beyond doubt more than "
        f"{found.gross:.2%}, three times the budget"
    )
