"""Access lines: one per request, put together from what its shape and its peer have encoded already."""

import time
from typing import TYPE_CHECKING, Final

from . import conventions as c
from .errors import redacted_traceback
from .logs import json_text

if TYPE_CHECKING:
    from .request import RequestRecord
    from .shapes import Peer, Shape

_SECOND: Final = 1_000_000_000


class _Clock:
    """The beginning of a line up to the second, made once a second."""

    __slots__ = ("last",)

    def __init__(self) -> None:
        # One tuple: a thread that reads while another one writes gets either, never half of each.
        self.last = (-1, "")

    def tick(self, second: int) -> tuple[int, str]:
        """Make it for another unix time."""
        stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
        last = self.last = (second, f'{{"{c.LOG_TIMESTAMP}":"{stamp}.')
        return last


_clock: Final = _Clock()
_SPAN_ID: Final = f'","{c.LOG_SPAN_ID}":"'
_FLAGS: Final = tuple(f'","{c.LOG_TRACE_FLAGS}":"{flags:02x}' for flags in range(256))


def access_line(request: "RequestRecord", shape: "Shape", peer: "Peer", duration: int) -> bytes:
    """Encode what is told of a request; `duration` in nanoseconds."""
    second, rest = divmod(request.started_unix + duration, _SECOND)
    clock = _clock.last
    if clock[0] != second:
        clock = _clock.tick(second)
    path = json_text(request.path)
    # Nobody inside has logged what escaped; what an error handler saw is that handler's to log.
    end = shape.end if not request.escaped else shape.end + _exception(request)
    return (
        f"{clock[1]}{rest // 1_000:06d}{shape.before_path}{path[1:-1]}{shape.message_end}{request.trace_id}"
        f"{_SPAN_ID}{request.span_id}{_FLAGS[request.flags]}{shape.after_ids}{path}{shape.after_path}"
        f"{duration / 1e6:.3f}{peer.line}{end}}}\n"
    ).encode("ascii")


def _exception(request: "RequestRecord") -> str:
    if request.error is None:
        return ""
    # The span says the same.
    request.stacktrace = redacted_traceback(request.error)
    return f',"{c.LOG_EXCEPTION}":{json_text(request.stacktrace)}'
