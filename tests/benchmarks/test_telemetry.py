"""The benchmark of telemetry: it must not rot, and it must not believe a variant that did not do the work."""

import dataclasses
import http.client
import json
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit
from xml.etree import ElementTree as ET

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from benchmarks.telemetry.catalogue import Variant, variants
from benchmarks.telemetry.chart import chart
from benchmarks.telemetry.figures import figures, targets
from benchmarks.telemetry.generator import Load, Sent, send
from benchmarks.telemetry.machine import machine
from benchmarks.telemetry.report import Report
from benchmarks.telemetry.rounds import Measurement, Plan, Rounds, turns
from benchmarks.telemetry.server import ANSWER
from benchmarks.telemetry.wire import spans_in

ROOT = Path(__file__).parents[2]
ONE = Load(connections=1, seconds=1)
SHORT = Plan(rounds=1, loads=(ONE,), warm_up=ONE, delay=0.1)
BY_NAME = {variant.name: variant for variant in variants()}
HANDFUL = 5


def handful(url: str, _load: Load, seed: int) -> Sent:
    """Send a few requests without wrk."""
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=10)
    began = time.perf_counter()
    for number in range(HANDFUL):
        headers = {"traceparent": f"00-{seed:016x}{number:016x}-{number + 1:016x}-01", "user-agent": "test"}
        connection.request("GET", f"/items/{ANSWER['id']}", headers=headers)
        assert json.loads(connection.getresponse().read()) == ANSWER
    connection.close()
    seconds = time.perf_counter() - began
    return Sent(HANDFUL, HANDFUL, seconds, seconds / HANDFUL, seconds / HANDFUL)


def run(variant: Variant, send=handful) -> Rounds:
    rounds = Rounds(SHORT, lambda _: None, send)
    rounds.run([variant])
    return rounds


@pytest.mark.parametrize("name", BY_NAME)
def test_every_variant_tells_of_every_request_exactly_what_is_expected(name: str) -> None:
    rounds = run(BY_NAME[name])
    assert rounds.failures == []
    (measured,) = rounds.measurements
    assert measured.requests == HANDFUL
    assert measured.cpu_us > 0
    # What FastAPI's own spans leave out is said in the report, in its column of attributes.
    own = {"http.request.method", "http.response.status_code", "http.route", "url.path", "server.address"}
    assert set(measured.attributes) >= own if BY_NAME[name].spans else measured.attributes == ()


@pytest.mark.parametrize(
    ("claim", "names"), [({"lines": 2}, "lines=10"), ({"histogram": "http_requests"}, "observations=5")]
)
def test_a_variant_that_does_less_than_it_claims_has_no_figures(claim: dict[str, object], names: str) -> None:
    rounds = run(dataclasses.replace(BY_NAME["ours"], **claim))
    assert rounds.measurements == []
    assert names in rounds.failures[0].reason


def test_a_variant_that_cannot_start_has_no_figures_and_says_why() -> None:
    rounds = run(dataclasses.replace(BY_NAME["ours"], factory="benchmarks.telemetry.variants.ours:nothing"))
    assert rounds.measurements == []
    assert 'Attribute "nothing" not found' in rounds.failures[0].reason


@pytest.mark.skipif(shutil.which("wrk") is None, reason="NOT RUN: the load generator is missing: apt-get install wrk")
def test_the_load_generator_sends_as_many_requests_as_it_says() -> None:
    rounds = Rounds(dataclasses.replace(SHORT, loads=(Load(8, 1),)), lambda _: None, send)
    rounds.run([BY_NAME["ours"]])
    assert rounds.failures == []
    assert rounds.measurements[0].requests > HANDFUL


def test_without_the_load_generator_one_sentence_says_how_to_get_it(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks", "--quick"],
        cwd=ROOT,
        env={"PATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "the load generator is missing: apt-get install wrk\n"


def test_the_layer_alone_can_be_timed_and_profiled() -> None:
    for option, said in (("--inprocess", "over bare"), ("--profile", "telemetry/asgi.py")):
        command = [sys.executable, "-m", "benchmarks", "telemetry", option, "--quick"]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
        assert said in done.stdout


def test_spans_are_found_whatever_stands_around_them() -> None:
    request = ExportTraceServiceRequest()
    ids = [number.to_bytes(16, "big") for number in range(1, 301)]
    for each in ids:
        resource = request.resource_spans.add()
        resource.resource.attributes.add(key="service.name").value.string_value = "x" * 300
        span = resource.scope_spans.add().spans.add(trace_id=each, span_id=each[8:], name="GET", end_time_unix_nano=2)
        span.attributes.add(key="double").value.double_value = 1.5
        span.attributes.add(key="int").value.int_value = -1
        span.links.add(trace_id=bytes(16))
    assert list(spans_in(request.SerializeToString())) == ids
    assert list(spans_in(b"")) == []


def test_a_torn_export_request_is_no_request() -> None:
    request = ExportTraceServiceRequest()
    request.resource_spans.add().scope_spans.add().spans.add(trace_id=bytes(16))
    with pytest.raises(ValueError, match="torn"):
        list(spans_in(request.SerializeToString()[:-1]))


def test_every_variant_comes_first_in_turn() -> None:
    some = variants()[:3]
    order = [variant.name for _, variant in turns(some, 3)]
    assert [order[place] for place in (0, 3, 6)] == [variant.name for variant in some]
    assert sorted(order) == sorted([variant.name for variant in some] * 3)


def made(name: str, number: int, cpu: float, rate: float = 1000.0, connections: int = 32) -> Measurement:
    return Measurement(name, number, connections, 100, cpu, 1.0, rate, 1.0, 2.0, 50.0, 400, ("http.route",))


def measurements() -> Iterator[Measurement]:
    """Rounds of a machine that gets slower: only differences within a round say anything."""
    for number, slow in enumerate((0.0, 100.0, 200.0), 1):
        yield made("litestar", number, 60 + slow)
        yield made("litestar-tuned", number, 360 + slow, 250)
        yield made("stock-sdk", number, 150 + slow, 500)
        yield made("ours", number, 75 + number + slow, 800)


def test_what_a_variant_costs_is_its_difference_to_the_bare_one_of_the_same_round() -> None:
    found = {f.variant.name: f for f in figures(variants(), list(measurements()))}
    ours = found["ours"]
    assert (ours.over.median, ours.over.low, ours.over.high) == (17, 16, 18)
    assert (ours.cpu.low, ours.cpu.high, ours.share.median) == (76, 278, 80)
    assert found["litestar"].over.median == 0


def test_the_targets_say_what_was_reached_and_what_was_not() -> None:
    said = {t.text: (t.measured, t.met) for t in targets(figures(variants(), list(measurements())))}
    assert said == {
        "pure Python, c = 32: at most 20 us of CPU a request over bare": ("17.0 us", True),
        "pure Python, c = 32: at most 30 us of CPU a request over bare": ("17.0 us", True),
        "pure Python, c = 32: at least 10 times less than the best framework integration": ("17.6 times", True),
        "pure Python, c = 32: at least 4 times less than the stock-SDK middleware": ("5.3 times", True),
        "pure Python, c = 32: at least 75 % of bare throughput": ("80 %", True),
    }
    slow = [made("litestar", 1, 60, connections=1), made("ours", 1, 100, connections=1)]
    assert [(t.measured, t.met) for t in targets(figures(variants(), slow))] == [
        ("40.0 us", False),
        ("40.0 us", False),
        ("+0.00 ms", True),
    ]


def test_the_chart_is_well_formed_and_shows_every_variant_that_was_measured() -> None:
    found = figures(variants(), list(measurements()))
    drawn = ET.fromstring(chart(found))  # noqa: S314 - our own
    texts = {element.text for element in drawn.iter() if element.tag.endswith("text")}
    assert {f.variant.title for f in found if f.variant.kind != "bare"} <= texts


def test_the_results_name_no_machine_and_no_place(tmp_path: Path) -> None:
    report = Report(variants(), SHORT, list(measurements()), [], machine(), {"wrk": "4"})
    report.write(tmp_path)
    written = {path.name: path.read_text() for path in tmp_path.iterdir()}
    assert set(written) == {"telemetry.json", "telemetry.md", "telemetry.svg"}
    assert not [text for text in written.values() if socket.gethostname() in text or str(ROOT) in text]
    assert json.loads(written["telemetry.json"])["figures"][0]["variant"]["name"] == "litestar"


def test_the_front_page_shows_the_results_that_are_kept() -> None:
    kept = json.loads((ROOT / "benchmarks" / "results" / "telemetry.json").read_bytes())["figures"]
    measured = {
        each["variant"]["name"]: (round(each["over"]["median"]), round(each["share"]["median"]))
        for each in kept
        if each["connections"] == 32 and each["variant"]["kind"] != "bare"
    }
    measured.pop("litestar-default")
    shown = re.findall(r"^\| .* \| (\d+) \| (\d+) % \|$", (ROOT / "README.md").read_text(), re.MULTILINE)
    assert [(int(over), int(share)) for over, share in shown] == sorted(measured.values())
