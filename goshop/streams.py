"""Standard streams that nobody reads: an exit code is an answer all the same, and must not become another one.

Python ends with 1 or 120 when a stream cannot be written, and so does rich; to whoever called the gate, 1 says that an
objective was missed.
"""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager


def open_closed() -> None:
    """Give streams that the caller has closed (`>&-`) somewhere to write to."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            discard(name)


def discard(name: str) -> None:
    """Send what is written to the stream `name` nowhere from now on."""
    # Python closes it as it ends.
    setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: PTH123, SIM115 - a device, for as long as we live


@contextmanager
def reader_may_leave() -> Iterator[None]:
    """Go on when the reader of stdout has left, as `head` does."""
    try:
        yield
        sys.stdout.flush()
    except BrokenPipeError:
        discard("stdout")
    except SystemExit:
        # What rich makes of a broken pipe (Console.on_broken_pipe); nothing else ends the process while it prints.
        discard("stdout")
