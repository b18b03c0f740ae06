"""Connections that keep a time-out: an answer that comes byte by byte is given up like one that does not come at all."""

import io
import socket
import time
from http.client import HTTPResponse
from typing import Any, Final

import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection


class _Punctual(io.RawIOBase):
    """Reads from a socket until the time is over that it had for one read."""

    def __init__(self, sock: socket.socket, file: io.RawIOBase) -> None:
        self._sock = sock
        self._file = file
        seconds = sock.gettimeout()
        self._ends = None if seconds is None else time.monotonic() + seconds

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        if self._ends is not None:
            rest = self._ends - time.monotonic()
            if rest <= 0:
                raise TimeoutError("timed out")
            self._sock.settimeout(rest)
        return self._file.readinto(buffer)

    def close(self) -> None:
        self._file.close()
        super().close()


class _Response(HTTPResponse):
    def __init__(self, sock: socket.socket, *arguments: Any, **options: Any) -> None:
        super().__init__(sock, *arguments, **options)
        # The socket has the rest of the whole request's time here; each read of it would take as much.
        self.fp = io.BufferedReader(_Punctual(sock, self.fp.detach()))


class _Http(HTTPConnection):
    response_class = _Response


class _Https(HTTPSConnection):
    response_class = _Response


class _HttpPool(urllib3.HTTPConnectionPool):
    ConnectionCls = _Http


class _HttpsPool(urllib3.HTTPSConnectionPool):
    ConnectionCls = _Https


_POOLS: Final = {"http": _HttpPool, "https": _HttpsPool}


def connections(proxy: str, **options: Any) -> urllib3.PoolManager:
    """Return connections that are kept, through a proxy unless it is ""; `options` are urllib3's."""
    manager = urllib3.ProxyManager(proxy, **options) if proxy else urllib3.PoolManager(**options)
    manager.pool_classes_by_scheme = _POOLS
    return manager
