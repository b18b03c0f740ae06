"""Thresholds before k6 itself: what no request came for does not pass."""

import json
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from loadtests.k6 import THRESHOLDS_CROSSED, find_k6

THRESHOLDS = Path(__file__).parent / "golden" / "release-gate" / "k6" / "release.json"
ROUTE = "GET /api/products/{id}"
SCRIPT = """
import http from 'k6/http';
const thresholds = JSON.parse(open(__ENV.THRESHOLDS));
// One request is no throughput.
delete thresholds.http_reqs;
export const options = { thresholds };
export default function () { http.get(__ENV.URL, { tags: { phase: 'judged', name: __ENV.NAME } }); }
"""


class Answers(BaseHTTPRequestHandler):
    """Answers everything with 200."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name is the standard library's
        """Say nothing."""


@pytest.fixture
def url() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize(("name", "code"), [(ROUTE, 0), ("GET /api/products", THRESHOLDS_CROSSED)])
def test_a_route_without_a_request_crosses_its_threshold(name: str, code: int, url: str, tmp_path: Path) -> None:
    (tmp_path / "script.js").write_text(SCRIPT)
    summary = tmp_path / "summary.json"
    options = ["--quiet", "--no-usage-report", "--iterations=1", "--address=127.0.0.1:0", f"--summary-export={summary}"]
    variables = {"THRESHOLDS": THRESHOLDS, "URL": url, "NAME": name}
    environ = [argument for key, value in variables.items() for argument in ("-e", f"{key}={value}")]
    command = [find_k6(), "run", *options, *environ, tmp_path / "script.js"]
    done = subprocess.run(command, capture_output=True, check=False, timeout=30)
    assert done.returncode == code, done.stderr
    metrics = json.loads(summary.read_bytes())["metrics"]
    assert metrics[f"http_reqs{{phase:judged,name:{ROUTE}}}"]["thresholds"] == {"count>0": bool(code)}
    # What k6 says of a latency that nothing was measured of.
    assert metrics[f"http_req_duration{{phase:judged,name:{ROUTE}}}"]["thresholds"] == {"p(99.9)<=250": False}
