"""What a run wrote goes on to a collector as it is; what does not get there is counted and said, in time."""

import time

import pytest
from opentelemetry.sdk.resources import Resource

from goshop.forwarding import forward
from goshop.ports import reserve
from telemetry.file_exporter import FileExporter
from telemetry.otlp import Envelope, export_request, head, name, span
from telemetry.spans import count_spans
from tests.goshop.answering import answering, drip, speaking

PROTOBUF = "application/x-protobuf"


def batch(service, count):
    spans = [span(head(f"{n:032x}", f"{n:016x}") + name("x")) for n in range(1, count + 1)]
    return export_request({Envelope(Resource({"service.name": service}), None): spans})


@pytest.fixture
def folder(tmp_path):
    """Spans of two processes: three batches, 9 spans."""
    for service, sizes in (("gateway", (4, 3)), ("k6", (2,))):
        file = FileExporter(tmp_path / "spans" / f"{service}.otlp")
        for size in sizes:
            file.export(batch(service, size), size, 1.0)
        file.close()
    return tmp_path / "spans"


def collector(asked, *replies: object):
    """Take everything, after the replies that are given."""
    waiting = list(replies)
    return answering(lambda request: asked.append(request) or (waiting.pop(0) if waiting else (200, PROTOBUF, b"")))


def test_every_batch_is_sent_once_and_unchanged_with_the_headers_of_the_environment(folder):
    asked = []
    with collector(asked) as url:
        environ = {"OTEL_EXPORTER_OTLP_ENDPOINT": url, "OTEL_EXPORTER_OTLP_HEADERS": "x-tenant=a"}
        sent = forward(folder, environ)
    assert [request.path for request in asked] == ["/v1/traces"] * 3
    assert {request.headers["x-tenant"] for request in asked} == {"a"}
    assert [request.body for request in asked] == [batch("gateway", 4), batch("gateway", 3), batch("k6", 2)]
    assert (sent.taken, sent.lost, sum(count_spans(request.body) for request in asked)) == (9, 0, 9)


def test_without_a_collector_nothing_is_said(folder, capsys):
    assert forward(folder, {}).taken == 0
    assert forward(folder, {"OTEL_TRACES_EXPORTER": "none", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://x"}).taken == 0
    assert capsys.readouterr() == ("", "")


def test_a_batch_that_is_refused_is_lost_alone_and_counted(folder, capsys):
    with collector([], (400, "text/plain", b"no")) as url:
        sent = forward(folder, {"OTEL_EXPORTER_OTLP_ENDPOINT": url})
    assert (sent.taken, sent.lost) == (5, 4)
    said = capsys.readouterr().err
    assert "4 of 9 spans of the run did not get to the collector: " in said
    assert "answers 400" in said


def test_a_collector_that_is_busy_for_a_moment_is_asked_again(folder, capsys):
    with collector([], (503, "text/plain", b"")) as url:
        sent = forward(folder, {"OTEL_EXPORTER_OTLP_ENDPOINT": url})
    assert (sent.taken, sent.lost) == (9, 0)
    assert capsys.readouterr().err == ""


def test_spans_that_it_takes_a_part_of_are_counted(folder, capsys):
    # ExportTraceServiceResponse: partial_success = {rejected_spans: 2}.
    with collector([], (200, PROTOBUF, b"\x0a\x02\x08\x02")) as url:
        sent = forward(folder, {"OTEL_EXPORTER_OTLP_ENDPOINT": url})
    assert (sent.taken, sent.lost) == (7, 2)
    assert "2 of 9 spans of the run did not get to the collector: it refused them" in capsys.readouterr().err


def test_a_collector_that_is_away_or_slow_is_given_up_in_time(folder, capsys):
    begun = time.monotonic()
    with reserve(1) as (port,):
        sent = forward(folder, {"OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{port}"}, seconds=0.3)
    assert (sent.taken, sent.lost) == (0, 9)
    with speaking(drip) as url:
        sent = forward(folder, {"OTEL_EXPORTER_OTLP_ENDPOINT": url}, seconds=0.3)
    assert (sent.taken, sent.lost) == (0, 9)
    assert time.monotonic() - begun < 5
    assert capsys.readouterr().err.count("9 of 9 spans") == 2


def test_what_there_is_no_time_for_is_counted_whatever_the_collector_answers(tmp_path, capsys):
    file = FileExporter(tmp_path / "k6.otlp")
    for _ in range(60):
        file.export(batch("k6", 1), 1, 1.0)
    file.close()

    def late(status):
        return answering(lambda _: time.sleep(0.03) or (status, PROTOBUF, b""))

    for status in (200, 400):
        begun = time.monotonic()
        with late(status) as url:
            sent = forward(tmp_path, {"OTEL_EXPORTER_OTLP_ENDPOINT": url}, seconds=0.5)
        assert time.monotonic() - begun < 1.5
        assert (sent.taken > 0) == (status == 200)
        assert sent.taken + sent.lost == 60
        assert f"{sent.lost} of 60 spans" in capsys.readouterr().err


def test_a_batch_that_cannot_be_read_is_said_and_the_others_are_sent(folder, capsys):
    (folder / "bad.otlp").write_bytes((5).to_bytes(4, "big") + b"\xff" * 5)
    with collector(asked := []) as url:
        sent = forward(folder, {"OTEL_EXPORTER_OTLP_ENDPOINT": url})
    assert (sent.taken, sent.lost, len(asked)) == (9, 0, 3)
    assert "1 batch of the run's spans cannot be read, and was not sent" in capsys.readouterr().err


def test_no_message_repeats_a_credential(folder, capsys):
    environ = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9",
        "OTEL_EXPORTER_OTLP_HEADERS": "authorization=Bearer%20s3cret",
    }
    forward(folder, environ, seconds=0.2)
    forward(folder, {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://me:s3cret@127.0.0.1:9"})
    said = capsys.readouterr().err
    assert "9 of 9 spans" in said
    assert "give credentials in OTEL_EXPORTER_OTLP_HEADERS" in said
    assert "s3cret" not in said


@pytest.mark.parametrize(
    "environ",
    [
        {"OTEL_EXPORTER_OTLP_ENDPOINT": "ftp://x"},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://[::1"},
        {"OTEL_TRACES_EXPORTER": "zipkin"},
    ],
)
def test_a_variable_that_cannot_be_followed_is_said(folder, environ, capsys):
    assert forward(folder, environ).taken == 0
    assert "the run's spans are sent to no collector: OTEL_" in capsys.readouterr().err
