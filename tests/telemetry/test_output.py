"""The way out for lines: files at once, pipes from a thread, nothing lost in silence, nobody made to wait."""

import io
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

import pytest

from telemetry.output import BufferedOutput, DirectOutput, Sink, StreamOutput, open_output
from telemetry.spans import read_spans

PATIENCE = 10.0
ROOT = Path(__file__).parents[2]


def told(lines: int) -> bytes:
    return b"lost %d\n" % lines


class Lost:
    def __init__(self) -> None:
        self.lines = 0.0

    def __call__(self, lines: float) -> None:
        self.lines += lines


@pytest.fixture
def lost() -> Lost:
    return Lost()


@pytest.fixture
def pipe() -> Iterator[tuple[int, TextIO]]:
    reading, writing = os.pipe()
    with os.fdopen(writing, "w") as stream:
        yield reading, stream
    os.close(reading)


def wait(condition: Any) -> None:
    ends = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < ends, "the condition has not become true"
        time.sleep(0.002)


def test_a_file_has_each_line_when_the_call_returns(tmp_path: Path, lost: Lost):
    path = tmp_path / "log"
    with path.open("w") as stream:
        output = open_output(stream, lost, told)
        assert isinstance(output, DirectOutput)
        output.write(b"one\n")
        assert path.read_bytes() == b"one\n"


def test_a_pipe_gets_every_line_in_order(pipe: tuple[int, TextIO], lost: Lost):
    reading, stream = pipe
    output = open_output(stream, lost, told)
    assert isinstance(output, BufferedOutput)
    for number in range(1_000):
        output.write(b"%d\n" % number)
    got = b""
    while got.count(b"\n") < 1_000:
        got += os.read(reading, 65_536)
    assert got == b"".join(b"%d\n" % number for number in range(1_000))
    assert lost.lines == 0


def test_a_reader_who_stands_still_makes_nobody_wait_and_is_told_what_he_missed(pipe: tuple[int, TextIO], lost: Lost):
    reading, stream = pipe
    output = BufferedOutput(Sink(stream, lost, told), limit=100_000)
    line = b"x" * 999 + b"\n"
    began = time.perf_counter()
    for _ in range(2_000):
        output.write(line)
    assert time.perf_counter() - began < 1.0
    assert lost.lines > 1_000
    got = b""
    while b"after\n" not in got:
        got += os.read(reading, 65_536)
        output.write(b"after\n")
    output.close(PATIENCE)
    assert sum(int(word) for word in got.decode().split() if word.isdigit()) == lost.lines


def test_closing_waits_for_the_buffer_but_not_for_ever(pipe: tuple[int, TextIO], lost: Lost):
    _, stream = pipe
    output = BufferedOutput(Sink(stream, lost, told))
    output.write(b"x" * 200_000 + b"\n")
    began = time.monotonic()
    output.close(0.05)
    assert 0.04 < time.monotonic() - began < 2.0


def test_lines_are_counted_as_lost_when_the_reader_is_gone(lost: Lost):
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as stream:
        output = BufferedOutput(Sink(stream, lost, told))
        output.write(b"into the void\n")
        wait(lambda: lost.lines == 1)


def test_a_full_disk_loses_lines_with_a_count_and_tears_none(
    tmp_path: Path, lost: Lost, monkeypatch: pytest.MonkeyPatch
):
    path = tmp_path / "log"
    real = os.write
    with path.open("w") as stream:
        output = DirectOutput(Sink(stream, lost, told))
        output.write(b"before\n")
        monkeypatch.setattr(os, "write", lambda fd, data: real(fd, data[:3]) if len(data) > 4 else _full())
        output.write(b"cut off\n")
        output.write(b"cut off as well\n")
        monkeypatch.undo()
        output.write(b"after\n")
        output.write(b"and on\n")
    lines = path.read_text().splitlines()
    assert lines[0] == "before"
    assert lines[-3:] == ["lost 2", "after", "and on"]
    assert lost.lines == 2


def _full() -> int:
    raise OSError(28, "No space left on device")


def test_a_closed_stream_loses_lines_and_never_writes_into_somebody_else_s_file(tmp_path: Path, lost: Lost):
    stream = (tmp_path / "log").open("w")
    output = DirectOutput(Sink(stream, lost, told))
    number = stream.fileno()
    stream.close()
    other = os.open(tmp_path / "other", os.O_RDWR | os.O_CREAT)
    assert other == number
    output.write(b"x\n")
    assert (os.fstat(other).st_size, lost.lines) == (0, 1)
    os.close(other)


def test_a_stream_without_a_file_is_written_to(lost: Lost):
    stream = io.StringIO()
    output = open_output(stream, lost, told)
    assert isinstance(output, StreamOutput)
    output.write(b"line\n")
    assert stream.getvalue() == "line\n"
    stream.close()
    output.write(b"nobody\n")


PROGRAM = """
import logging, os, sys, telemetry
shop = telemetry.configure("order")
for n in range(300):
    logging.info("%d", n)
if sys.argv[1] == "killed":
    os.kill(os.getpid(), 9)
shop.shutdown()
"""


@pytest.mark.parametrize("ending", ["killed", "shut down"])
def test_a_process_that_writes_to_a_file_loses_no_line_even_when_it_is_killed(tmp_path: Path, ending: str):
    with (tmp_path / "log").open("w") as log:
        subprocess.run([sys.executable, "-c", PROGRAM, ending], cwd=ROOT, stdout=log, check=False)
    lines = (tmp_path / "log").read_text().splitlines()
    assert [json.loads(line)["message"] for line in lines] == [str(n) for n in range(300)]


def test_a_process_that_writes_to_a_pipe_has_written_everything_after_its_shutdown():
    done = subprocess.run([sys.executable, "-c", PROGRAM, "shut down"], cwd=ROOT, capture_output=True, check=True)
    assert [json.loads(line)["message"] for line in done.stdout.splitlines()] == [str(n) for n in range(300)]


FORKED = """
import logging, os, telemetry
shop = telemetry.configure("order")
logging.info("parent")
if os.fork() == 0:
    logging.info("child")
    shop.tracer.start_span("in the child").end()
    shop.shutdown()
    os._exit(0)
os.wait()
shop.shutdown()
"""


def test_a_forked_child_writes_and_exports_by_itself(tmp_path: Path):
    path = tmp_path / "spans.otlp"
    environ = os.environ | {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": f"file:{path}"}
    done = subprocess.run([sys.executable, "-c", FORKED], cwd=ROOT, env=environ, capture_output=True, check=True)
    assert sorted(json.loads(line)["message"] for line in done.stdout.splitlines()) == ["child", "parent"]
    assert [span.name for span in read_spans(path)] == ["in the child"]


def test_many_threads_write_whole_lines(tmp_path: Path, lost: Lost):
    path = tmp_path / "log"
    with path.open("w") as stream:
        output = open_output(stream, lost, told)
        threads = [
            threading.Thread(target=lambda n=n: [output.write(b"%d\n" % n * 1) for _ in range(500)]) for n in range(4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert sorted(set(path.read_text().splitlines())) == ["0", "1", "2", "3"]
    assert len(path.read_text().splitlines()) == 2_000
