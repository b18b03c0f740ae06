"""Benchmarks: how the cost grows, side by side in one run, medians with spread. Not timed tests."""

from typing import Final

# Programs with options of their own: `python -m benchmarks gate --releases 50` is `python -m benchmarks.gate --releases 50`.
PROGRAMS: Final = ("gate", "labels", "soak", "specification", "stack")
