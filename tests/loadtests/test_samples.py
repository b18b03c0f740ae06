"""Every row of k6's csv is read, also while it is written, torn or quoted."""

from pathlib import Path

import pytest

from loadtests import Drop, LoadError, Sample, SampleReader

HEADER = (
    "metric_name,timestamp,metric_value,error_code,expected_response,method,name,scenario,status,extra_tags,metadata\n"
)
REQUEST = "http_req_duration,1795430059859978231,549.097,,true,GET,GET /api/products,smoke,200,phase=judged,start_ms=1795430059310&trace_id=abc\n"
REST = (
    "http_reqs,1795430059859978231,1.000000,,true,GET,GET /api/products,smoke,200,phase=judged,trace_id=abc\n"
    "iteration_duration,1795430059859978231,551.0,,,,,smoke,,phase=judged,trace_id=abc\n"
    "iterations,1795430059859978231,1.000000,,,,,smoke,,phase=judged,trace_id=abc\n"
    "dropped_iterations,1795430060658140297,2.000000,,,,,smoke,,,\n"
    "vus,1795430060806405791,5.000000,,,,,,,,\n"
    "vus_max,1795430060806405791,7.000000,,,,,,,,\n"
)


def read(folder: Path, text: str) -> SampleReader:
    path = folder / "samples.csv"
    path.write_text(text)
    reader = SampleReader(path)
    reader.poll()
    return reader


def test_a_request_is_read_whole(tmp_path: Path) -> None:
    (sample,) = read(tmp_path, HEADER + REQUEST + REST).samples
    assert sample == Sample(
        trace_id="abc",
        scenario="smoke",
        endpoint="GET /api/products",
        method="GET",
        status=200,
        error_code=0,
        duration=0.549097,
        start=1795430059.310,
        expected=True,
        warmup=False,
    )


def test_drops_users_and_iterations_are_read(tmp_path: Path) -> None:
    reader = read(tmp_path, HEADER + REQUEST + REST)
    assert reader.drops == [Drop(pytest.approx(1795430060.658), "smoke", 2)]
    assert reader.users == [(pytest.approx(1795430060.806), 5)]
    assert reader.iterations == {"judged": 1}
    assert reader.iteration_seconds == 0.551
    assert reader.ends == [pytest.approx(1795430059.859978)]


def test_columns_are_found_by_name(tmp_path: Path) -> None:
    order = [10, 3, 0, 5, 6, 4, 7, 8, 9, 1, 2]

    def shuffled(line: str) -> str:
        cells = line.rstrip("\n").split(",")
        # The metric's name comes first in every version.
        return ",".join([cells[0], "v2", *(cells[index] for index in order if index)]) + "\n"

    reader = read(tmp_path, shuffled(HEADER) + shuffled(REQUEST))
    assert reader.samples == read(tmp_path, HEADER + REQUEST).samples


def test_a_missing_column_is_named(tmp_path: Path) -> None:
    with pytest.raises(LoadError, match="lack metadata; name them in the script's systemTags"):
        read(tmp_path, HEADER.replace(",metadata", "") + REQUEST)


def test_a_growing_file_is_read_to_the_same_end_wherever_it_is_cut(tmp_path: Path) -> None:
    quoted = REQUEST.replace("GET /api/products", '"GET ""a"",\nb"')
    text = (HEADER + REQUEST + quoted + REST).encode()
    path = tmp_path / "growing.csv"
    for cut in range(0, len(text), 7):
        reader = SampleReader(path)
        path.write_bytes(text[:cut])
        reader.poll()
        path.write_bytes(text)
        reader.poll()
        assert [sample.endpoint for sample in reader.samples] == ["GET /api/products", 'GET "a",\nb']
        assert (reader.malformed, reader.torn, len(reader.drops)) == (0, False, 1)


def test_a_torn_last_row_is_no_sample_and_is_told(tmp_path: Path) -> None:
    reader = read(tmp_path, HEADER + REQUEST + REQUEST[:60])
    assert (len(reader.samples), reader.torn, reader.malformed) == (1, True, 0)


def test_a_spoilt_row_is_counted(tmp_path: Path) -> None:
    reader = read(tmp_path, HEADER + REQUEST + REQUEST.replace("200", "two hundred") + "http_req_duration,1\n")
    assert (len(reader.samples), reader.malformed) == (1, 2)


def test_a_file_that_is_not_there_yet_is_empty(tmp_path: Path) -> None:
    reader = SampleReader(tmp_path / "none.csv")
    reader.poll()
    assert (reader.samples, reader.torn) == ([], False)


def test_only_the_first_hop_of_a_redirect_begins_when_the_journey_says(tmp_path: Path) -> None:
    second = REQUEST.replace("1795430059859978231,549.097", "1795430060859978231,1000.0")
    first, hop = read(tmp_path, HEADER + REQUEST + second).samples
    assert (first.start, hop.start) == (1795430059.310, pytest.approx(1795430059.859978))


def test_the_warm_up_and_failures_are_marked(tmp_path: Path) -> None:
    failed = REQUEST.replace(",,true,", ",1212,false,").replace(",200,phase=judged", ",0,phase=warmup")
    (sample,) = read(tmp_path, HEADER + failed).samples
    assert (sample.status, sample.error_code, sample.expected, sample.warmup) == (0, 1212, False, True)


def test_a_scheme_in_capitals_is_the_one_that_k6_spells_small(tmp_path: Path) -> None:
    reader = SampleReader(tmp_path / "none.csv", "HTTP://Shop.example.org/api/")
    assert reader.base_url == "http://Shop.example.org/api"
    assert SampleReader(tmp_path / "none.csv").base_url == ""
