"""Servers on loopback that answer as a test wants them to: properly, wrongly, byte by byte, or not at all."""

import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread


@dataclass(frozen=True)
class Asked:
    """What a client sent; the names of `headers` are in small letters."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


# Status, content type, body.
Reply = tuple[int, str, bytes]


@contextmanager
def answering(reply: Callable[[Asked], Reply]) -> Iterator[str]:
    """Serve HTTP at the address that is returned."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            headers = {name.lower(): value for name, value in self.headers.items()}
            status, kind, said = reply(Asked(self.command, self.path, headers, body))
            self.send_response(status)
            self.send_header("Content-Type", kind)
            if 300 <= status < 400:
                self.send_header("Location", said.decode())
            self.send_header("Content-Length", str(len(said)))
            self.end_headers()
            self.wfile.write(said)

        def do_POST(self) -> None:
            self.do_GET()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


@contextmanager
def speaking(say: Callable[[socket.socket], object]) -> Iterator[str]:
    """Answer the first connection with whatever `say` does to it."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            connection, _ = server.accept()
            with connection:
                try:
                    say(connection)
                except OSError:
                    return

        thread = Thread(target=serve, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}"
        thread.join(5)


def drip(connection: socket.socket) -> None:
    """Send a byte of an endless head ten times a second: no time-out between two bytes ends that."""
    connection.sendall(b"HTTP/1.1 200 OK\r\nX: ")
    until = time.monotonic() + 1
    connection.settimeout(0.1)
    while time.monotonic() < until:
        connection.sendall(b"x")
        try:
            connection.recv(1 << 16)
        except TimeoutError:
            continue
