"""Free TCP ports on loopback that stay ours until a child listens on them, and after it has died.

A port is reserved by a socket that is bound with SO_REUSEADDR and never listens. Under Linux a server that sets the option too
(uvicorn, gRPC and every other one on POSIX does) may listen beside it, while nobody gets the port by asking for any free one,
neither for listening nor for an outgoing connection (ip(7), socket(7)).
"""

import contextlib
import errno
import socket
from collections.abc import Iterator
from contextlib import ExitStack

LOOPBACK = "127.0.0.1"


@contextlib.contextmanager
def reserve(count: int) -> Iterator[list[int]]:
    """Reserve `count` different free ports while the context lasts."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(_bound()) for _ in range(count)]
        yield [sock.getsockname()[1] for sock in sockets]


def _bound() -> socket.socket:
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    # Bound first: asked for afterwards, so that the kernel gives a port that nobody else has reserved.
    sock.bind((LOOPBACK, 0))
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    return sock


def is_taken(port: int) -> bool:
    """Tell whether somebody listens on the port."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            sock.bind((LOOPBACK, port))
            sock.listen()
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
            return True
    return False
