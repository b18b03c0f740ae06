"""A request's lines, from the files that services write to what Loki finds by a trace id: on the shipped pipeline."""

import json
import re
import secrets
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from app.config import SERVICES
from tests.stack.backend import Backend
from tests.stack.log_files import ARRIVE_SECONDS, LogFiles, json_line, now
from tests.stack.loki import Loki
from tests.stack.observed import STOCK, Customer, Observed, trace_id
from tests.stack.prometheus import eventually

ROOT = Path(__file__).parents[2]
LINE_LIMIT = 256 * 1024


@pytest.fixture(scope="module")
def customer(observed: Observed) -> Iterator[Customer]:
    with Customer(observed.shop) as customer:
        yield customer


@pytest.fixture(scope="module")
def files(promtail: Callable[[Path], Backend], loki: Loki, tmp_path_factory: pytest.TempPathFactory) -> LogFiles:
    folder = tmp_path_factory.mktemp("app")
    promtail(folder)
    return LogFiles(folder, loki)


def written(logs: Path) -> dict[str, Counter[str]]:
    """Return the lines in the services' files, by the trace that they belong to."""
    found: dict[str, Counter[str]] = {}
    for file in logs.glob("*.log"):
        for line in file.read_text().splitlines():
            found.setdefault(json.loads(line).get("trace_id", ""), Counter())[line] += 1
    return found


def test_a_trace_id_finds_exactly_the_lines_of_its_request(observed: Observed, customer: Customer) -> None:
    # Three at a time, of which one is refused deep inside: its lines are in several services' files.
    answers = [customer.look(), customer.order(quantity=STOCK + 1), customer.order()]
    refused = trace_id(answers[1])
    wanted = {trace_id(answer) for answer in answers}
    eventually(lambda: wanted <= written(observed.logs).keys(), 5, "the lines are written")

    def differ() -> set[str]:
        # Read anew each time: a service may write its last line after its answer.
        lines = written(observed.logs)
        return {each for each in wanted if Counter(line.text for line in observed.loki.of_trace(each)) != lines[each]}

    eventually(
        lambda: not differ(), ARRIVE_SECONDS, "Loki has the lines of each request that are in the files, each once"
    )
    assert {line.labels["service"] for line in observed.loki.of_trace(refused)} >= {"gateway", "product"}


def test_the_streams_of_a_shop_are_its_services_and_levels(observed: Observed, customer: Customer) -> None:
    customer.order()

    def ours() -> list[dict[str, str]]:
        streams = [stream for stream in observed.loki.streams() if stream.get("service") in SERVICES]
        return streams if {stream["service"] for stream in streams} == set(SERVICES) else []

    streams = eventually(ours, ARRIVE_SECONDS, "each service has lines in Loki")
    # A line that is not ours (a library's, on the standard error) has no level.
    assert {frozenset(stream) - {"level"} for stream in streams} == {frozenset({"job", "service"})}
    assert len(streams) <= len(SERVICES) * 6
    assert {stream["job"] for stream in streams} == {"backend-app"}


def test_what_is_found_is_a_line_with_its_ids_beside_it(observed: Observed, customer: Customer) -> None:
    wanted = trace_id(customer.look())
    [line] = eventually(lambda: observed.loki.of_trace(wanted), ARRIVE_SECONDS, "the access line is in Loki")
    record = json.loads(line.text)
    assert line.metadata == {"trace_id": wanted, "span_id": record["span_id"]}
    at = datetime.strptime(record["timestamp"], "%Y-%m-%dT%H:%M:%S.%f%z")
    assert line.at == round(at.timestamp() * 1e6) * 1000


def test_lines_as_text_and_as_json_are_found_by_one_id(files: LogFiles) -> None:
    wanted = secrets.token_hex(16)
    text = (
        f'{datetime.now(UTC):%Y-%m-%d %H:%M:%S},123 ERROR billing traceID="{wanted}" spanID="00f067aa0ba902b7" no funds'
    )
    record = json_line("refused", wanted, level="warning")
    files.write("text", text)
    files.write("json", record)
    files.wait("text", [text])
    files.wait("json", [record])
    assert {line.text for line in files.loki.of_trace(wanted)} == {text, record}
    levels = {line.labels["service"]: line.labels["level"] for line in files.loki.of_trace(wanted)}
    assert levels == {"text": "error", "json": "warning"}


def test_a_text_line_has_its_own_time(files: LogFiles) -> None:
    at = (datetime.now(UTC) - timedelta(minutes=10)).replace(microsecond=789_000)
    line = f'{at:%Y-%m-%d %H:%M:%S},789 INFO traceID="{secrets.token_hex(16)}" late'
    files.write("clock", line)
    [stored] = files.wait("clock", [line])
    assert stored.at == round(at.timestamp() * 1000) * 1_000_000


TRACEBACK = """Traceback (most recent call last):
  File "shop.py", line 3, in pay
    charge()

ValueError: {"trace_id": "not one"}

During handling of the above exception, another exception occurred:

Traceback (most recent call last):
  File "shop.py", line 9, in order
PaymentError: refused"""


def test_a_text_line_and_the_traceback_below_it_are_one_entry(files: LogFiles) -> None:
    wanted = secrets.token_hex(16)
    entry = f'{now()} ERROR orders traceID="{wanted}" failed\n{TRACEBACK}'
    after = f"{now()} INFO orders next"
    files.write("traceback", *entry.split("\n"), after)
    files.wait("traceback", [entry, after])
    assert [line.text for line in files.loki.of_trace(wanted)] == [entry]


def test_a_traceback_between_json_lines_belongs_to_none_of_their_requests(files: LogFiles) -> None:
    before, after = (json_line("fine", secrets.token_hex(16)) for _ in range(2))
    crash = 'Traceback (most recent call last):\n  File "shop.py", line 1, in <module>\nMemoryError'
    files.write("crash", before, *crash.split("\n"), after)
    lines = files.wait("crash", [before, crash, after])
    assert len(lines) == 3
    assert [line.metadata for line in lines if line.text == crash] == [{}]


# What a service does when something is raised in a request.
SCRIPT = """
import logging, sys
from telemetry import configure
telemetry = configure("worker", stream=open(sys.argv[1], "a"))
with telemetry.tracer.start_as_current_span("work"):
    try:
        {}["a\\nb"]
    except KeyError:
        logging.getLogger("worker").exception("lost:\\n\\x1b[31mred")
telemetry.shutdown()
"""


def test_a_traceback_that_our_logging_writes_is_one_entry_with_its_request(files: LogFiles) -> None:
    environ = {"PATH": "", "OTEL_SDK_DISABLED": "false", "OTEL_TRACES_EXPORTER": "none"}
    subprocess.run([sys.executable, "-c", SCRIPT, files.path("worker")], cwd=ROOT, env=environ, check=True, timeout=60)
    [line] = files.path("worker").read_text().splitlines()
    record = json.loads(line)
    assert record["exception"].count("\n") >= 2
    files.wait("worker", [line])
    assert [found.text for found in files.loki.of_trace(record["trace_id"])] == [line]


def test_no_line_can_pretend_to_belong_to_another_request_or_service(files: LogFiles) -> None:
    victim, own = secrets.token_hex(16), secrets.token_hex(16)
    forged = json_line(
        rf"\"trace_id\":\"{victim}\" traceID=\"{victim}\" \"level\":\"error\",\"service\":\"gateway\"", own
    )
    files.write("forger", forged)
    [line] = files.wait("forger", [forged])
    assert (line.metadata["trace_id"], line.labels["level"]) == (own, "info")
    assert files.loki.of_trace(victim) == []


def test_an_unknown_level_is_no_label(files: LogFiles) -> None:
    lines = [json_line("odd", level=secrets.token_hex(4)) for _ in range(5)]
    files.write("levels", *lines)
    files.wait("levels", lines)
    assert [stream for stream in files.loki.streams() if stream["service"] == "levels"] == [
        {"job": "backend-app", "service": "levels"}
    ]


HOSTILE = {
    "control characters": b'{"message":"\x1b[2J\x07\x08\x00\x7f","trace_id":"%s"}',
    "no UTF-8": b'{"message":"\xff\xfe\xc3(","trace_id":"%s"}',
    "torn": b'{"timestamp":"2026-01-01T00:00:0{"level":"info","trace_id":"%s"}',
    "a time that is none": b'{"timestamp":"2026-13-45T99:99:99Z","trace_id":"%s"}',
    "an id that is none": b'{"trace_id":"x\\"} or \\"","other":"%s"}',
    "nested": b'{"message":' + b"[" * 5000 + b']},"trace_id":"%s"}',
    "only a carriage return": b"\r%s\r",
    "other line ends": "\u2028\u2029\x85 %s".encode(),
    "not a line of ours": b"Segmentation fault (core dumped) %s",
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_hostile_line_loses_nothing_but_at_most_itself(files: LogFiles, kind: str) -> None:
    name = re.sub("[^a-z]", "-", kind.lower())
    mark = secrets.token_hex(16)
    good = [json_line(f"good {number}", secrets.token_hex(16)) for number in range(4)]
    files.write(name, *good[:2], HOSTILE[kind] % mark.encode(), *good[2:])
    lines = files.wait(name, good)
    eventually(lambda: any(mark in line.text for line in files.stored(name)), ARRIVE_SECONDS, "the hostile line, too")
    assert Counter(line.text for line in lines if line.text in good) == Counter(good)


def test_a_line_that_is_too_long_is_kept_up_to_the_limit(files: LogFiles) -> None:
    wanted = secrets.token_hex(16)
    before, after = json_line("before"), json_line("after")
    files.write("long", before, json_line("x" * 3 * LINE_LIMIT, wanted), after)
    files.wait("long", [before, after])
    [line] = eventually(lambda: files.loki.of_trace(wanted), ARRIVE_SECONDS, "the long line is in Loki")
    assert LINE_LIMIT - 1024 <= len(line.text) <= LINE_LIMIT


def test_a_line_without_its_end_waits_for_it(files: LogFiles) -> None:
    wanted = secrets.token_hex(16)
    line = json_line("slow", wanted)
    path = files.path("slow")
    path.write_text(line[:60])
    first = json_line("else")
    files.write("quick", first)
    files.wait("quick", [first])
    assert files.stored("slow") == []
    with path.open("a") as file:
        file.write(line[60:] + "\n")
    files.wait("slow", [line])
    assert [found.text for found in files.loki.of_trace(wanted)] == [line]


def test_each_file_belongs_to_its_service_a_renamed_one_too_and_a_packed_one_is_left_alone(files: LogFiles) -> None:
    packed = json_line("packed")
    (files.folder / "rotated.log.3.gz").write_text(packed + "\n")
    lines = [json_line(f"{number}") for number in range(4)]
    names = ("rotated.log", "rotated.12.log", "rotated.log.12", "rotated.log.202611231700")
    for name, line in zip(names, lines, strict=True):
        (files.folder / name).write_text(line + "\n")
    files.wait("rotated", lines)
    # The first of them would have been the first there.
    assert packed not in files.loki.texts()


def test_nothing_of_an_id_is_a_label(files: LogFiles) -> None:
    names = set(files.loki.json("/loki/api/v1/labels")["data"])
    assert names == {"job", "service", "level"}
