"""The load's own spans: one for each request, as its sender saw it, and as OpenTelemetry's conventions spell it."""

from pathlib import Path

import pytest

from loadtests import SMOKE, LoadRun, Sample
from loadtests.client_spans import BATCH, write_client_spans
from telemetry.spans import SpanRecord, read_batches, read_spans

BEGAN = 1_700_000_000.25
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


def sample(trace_id: str = TRACE, **changes: object) -> Sample:
    fields = {
        "trace_id": trace_id,
        "scenario": "smoke",
        "endpoint": "GET /api/products/{id}",
        "method": "GET",
        "status": 200,
        "error_code": 0,
        "duration": 0.02,
        "start": BEGAN,
        "expected": True,
        "warmup": False,
    }
    return Sample(**fields | changes)  # type: ignore[arg-type]


def written(folder: Path, *samples: tuple[Sample, float], url: str = "http://127.0.0.1:8080") -> list[SpanRecord]:
    """Return the spans of samples that ended so many seconds after they began."""
    requests = tuple(each for each, _ in samples)
    ends = tuple(each.start + seconds for each, seconds in samples)
    load = LoadRun(profile=SMOKE, url=url, started=BEGAN, ended=BEGAN + 60, samples=requests, ends=ends)
    count = write_client_spans(load, folder / "k6.otlp", "20261123T120000-0000")
    spans = list(read_spans(folder / "k6.otlp"))
    assert count == len(spans)
    return spans


def test_a_request_is_the_root_of_its_trace(tmp_path: Path) -> None:
    (span,) = written(tmp_path, (sample(), 0.02))
    assert (span.trace_id, span.span_id, span.parent_id) == (TRACE, TRACE[16:], "")
    assert (span.service, span.kind, span.name, span.status) == ("k6", "CLIENT", "GET /api/products/{id}", "UNSET")
    assert span.attributes == {
        "http.request.method": "GET",
        "url.template": "/api/products/{id}",
        "http.response.status_code": 200,
        "goshop.load.scenario": "smoke",
        "server.address": "127.0.0.1",
        "server.port": 8080,
    }


@pytest.mark.parametrize(
    ("start", "end", "begins"),
    [
        (BEGAN, BEGAN + 0.02, BEGAN),
        # k6's clock of the beginning has whole ms.
        (BEGAN, BEGAN + 0.0209, BEGAN + 0.0009),
        # A wait for a connection is the request's, too.
        (BEGAN, BEGAN + 0.32, BEGAN),
    ],
)
def test_a_span_lasts_from_when_the_user_asked_until_the_answer_was_there(
    tmp_path: Path, start: float, end: float, begins: float
) -> None:
    (span,) = written(tmp_path, (sample(start=start), end - start))
    assert span.start_ns / 1e9 == pytest.approx(begins, abs=1e-6)
    assert span.end_ns / 1e9 == pytest.approx(end, abs=1e-6)


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"status": 503}, "503"),
        ({"status": 404, "expected": True}, "404"),
        ({"status": 0, "error_code": 1050}, "k6_1050"),
    ],
)
def test_what_failed_for_the_client_is_an_error(tmp_path: Path, changes: dict[str, int], error: str) -> None:
    (span,) = written(tmp_path, (sample(**changes), 0.02))
    assert (span.status, span.attributes["error.type"]) == ("ERROR", error)
    assert span.attributes.get("http.response.status_code", 0) == changes["status"]


def test_the_hops_of_a_redirect_have_one_parent(tmp_path: Path) -> None:
    other = "f" * 32
    spans = written(tmp_path, (sample(status=302), 0.02), (sample(other), 0.02), (sample(start=BEGAN + 0.02), 0.03))
    assert [span.trace_id for span in spans] == [other, TRACE]
    assert spans[1].attributes["http.response.status_code"] == 200
    assert (spans[1].end_ns - spans[1].start_ns) / 1e9 == pytest.approx(0.05, abs=1e-6)


def test_a_warm_up_is_told_from_what_is_judged(tmp_path: Path) -> None:
    (span,) = written(tmp_path, (sample(warmup=True), 0.02), url="https://shop.example.org/base")
    assert span.attributes["goshop.load.warmup"] is True
    assert (span.attributes["server.address"], span.attributes["server.port"]) == ("shop.example.org", 443)


def test_many_requests_are_written_in_batches_that_a_collector_takes(tmp_path: Path) -> None:
    assert len(written(tmp_path, *((sample(f"{n:032x}"), 0.02) for n in range(1, BATCH + 2)))) == BATCH + 1
    with (tmp_path / "k6.otlp").open("rb") as file:
        sizes = [len(batch) for batch in read_batches(file)]
    assert len(sizes) == 2
    assert max(sizes) < 1 << 20


def test_a_request_whose_trace_is_not_known_has_no_span(tmp_path: Path) -> None:
    unknown = [(sample(trace_id), 0.02) for trace_id in ("", "", "abc", "X" * 32)]
    assert [span.trace_id for span in written(tmp_path, *unknown, (sample(), 0.02))] == [TRACE]
