"""The SDK's own samplers, decided from what a fast span knows: the trace id in hexadecimal and the parent's flag.

A sampler of somebody else's may look at names, attributes or the clock; for that one real SDK spans are made.
Source: https://opentelemetry.io/docs/specs/otel/trace/sdk/#built-in-samplers
"""

import re
from collections.abc import Callable
from typing import Final

from opentelemetry.sdk.trace import sampling
from opentelemetry.sdk.trace.sampling import Sampler, TraceIdRatioBased

# Takes a trace id and whether the parent is sampled (None without a parent).
Decide = Callable[[str, bool | None], bool]

# Only with the delegates that it has by default is the parent's flag the decision.
_PARENT_BASED: Final = re.compile(
    r"ParentBased\{root:(?P<root>.+),remoteParentSampled:AlwaysOnSampler,remoteParentNotSampled:AlwaysOffSampler,"
    r"localParentSampled:AlwaysOnSampler,localParentNotSampled:AlwaysOffSampler\}"
)
_RATIO: Final = re.compile(r"TraceIdRatioBased\{(?P<rate>[0-9.e-]+)\}")
# The ratio sampler looks at the lower 64 of 128 bits.
_LOWER: Final = 16


def decision_of(sampler: Sampler) -> Decide | None:
    """Return what decides as this sampler does, None when it is none of the SDK's own."""
    if type(sampler).__module__ != sampling.__name__:
        return None
    description = sampler.get_description()
    match = _PARENT_BASED.fullmatch(description)
    root = _root_decision(match["root"] if match else description)
    if root is None or match is None:
        return root
    return lambda trace_id, parent: root(trace_id, None) if parent is None else parent


def _root_decision(description: str) -> Decide | None:
    if description == "AlwaysOnSampler":
        return lambda _trace_id, _parent: True
    if description == "AlwaysOffSampler":
        return lambda _trace_id, _parent: False
    if match := _RATIO.fullmatch(description):
        bound = TraceIdRatioBased.get_bound_for_rate(float(match["rate"]))
        return lambda trace_id, _parent: int(trace_id[_LOWER:], 16) < bound
    return None
