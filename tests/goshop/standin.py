"""A process that behaves as a service does towards the launcher: listens where it is told, gets ready, stops on SIGTERM.

Called as `standin.py NAME [MODE]`; MODE `dies` ends at start, `never` never gets ready, `stubborn` ignores SIGTERM.
"""

import json
import os
import signal
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

name = sys.argv[1]
mode = (sys.argv[2:] or [""])[0]


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        if self.path == "/ready":
            self.send_response(503 if mode == "never" else 200)
        else:
            self.send_response(404)
        self.end_headers()

    def log_message(self, *_args: object):
        pass


def stop(_number, _frame):
    raise SystemExit(0)


def listen(kind):
    address = os.environ.get(f"GOSHOP_SERVICES__{name.upper()}__{kind}")
    if address:
        host, port = address.split(":")
        return ThreadingHTTPServer((host, int(port)), Handler)
    return None


signal.signal(signal.SIGTERM, signal.SIG_IGN if mode == "stubborn" else stop)
if mode == "dies":
    said = {"level": "error", "message": "the reason is \x1b[31mthis", "exception": "Traceback\nValueError: told you"}
    sys.stdout.write(json.dumps(said) + "\n")
    sys.exit(3)
servers = [listen(kind) for kind in ("GRPC", "HTTP", "INTERNAL")]
servers[-1].serve_forever()
