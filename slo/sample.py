"""What the gate needs to know of one request; `loadtests.Sample` has this shape, and so may any other load generator's."""

from typing import Final, Protocol

# HTTP statuses from here on are failures of the server (RFC 9110, 15.6).
SERVER_ERROR: Final = 500
# The server declines to serve: to the customer that is no service (RFC 6585, section 4).
TOO_MANY_REQUESTS: Final = 429


class Sample(Protocol):
    """One request of the load."""

    @property
    def trace_id(self) -> str:
        """32 lower-case hexadecimal digits."""
        ...

    @property
    def scenario(self) -> str:
        """The load script's scenario; "" for set-up and tear-down, which are never judged."""
        ...

    @property
    def endpoint(self) -> str:
        """The route's template, with or without the method before it."""
        ...

    @property
    def method(self) -> str:
        """The HTTP method."""
        ...

    @property
    def status(self) -> int:
        """The answer's status; 0 when there was no answer."""
        ...

    @property
    def error_code(self) -> int:
        """The load generator's own code for what went wrong; 0 for nothing."""
        ...

    @property
    def duration(self) -> float:
        """Seconds from sending to the last byte."""
        ...

    @property
    def start(self) -> float:
        """Start of the request, unix seconds."""
        ...

    @property
    def expected(self) -> bool:
        """Whether the journey declared this status."""
        ...

    @property
    def warmup(self) -> bool:
        """Whether it belongs to the warm-up: reconciled and reported, not judged."""
        ...


def endpoint_of(sample: Sample) -> str:
    """Return `METHOD /route/{template}`."""
    return f"{sample.method} {sample.endpoint}" if sample.endpoint.startswith("/") else sample.endpoint


def is_judged(sample: Sample) -> bool:
    """Tell whether a sample counts towards the objectives: neither warm-up nor set-up."""
    return not sample.warmup and bool(sample.scenario)


def is_unanswered(sample: Sample) -> bool:
    """Tell whether no answer came."""
    return sample.status == 0


def is_unavailable(sample: Sample) -> bool:
    """Tell whether a request is bad for availability: no answer, >= 500, 429, or a status nobody declared."""
    return (
        is_unanswered(sample)
        or sample.status >= SERVER_ERROR
        or sample.status == TOO_MANY_REQUESTS
        or not sample.expected
    )


def is_slow(sample: Sample, limit: float) -> bool:
    """Tell whether a request is bad for latency: slower than `limit` seconds, or without an answer."""
    return is_unanswered(sample) or sample.duration > limit
