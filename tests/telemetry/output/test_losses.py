"""What cannot be written is counted and said; nothing is torn, and nothing goes where it does not belong."""

import io
import os
import re
import threading
from pathlib import Path
from typing import TextIO

import pytest

from telemetry.output import Sink, StreamOutput, open_output
from tests.telemetry.ended_spans import wait
from tests.telemetry.output.destinations import Lost, told


def test_lines_are_counted_as_lost_when_the_reader_is_gone(lost: Lost):
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as stream:
        open_output(stream, lost, told).write(b"into the void\n")
        wait(lambda: lost.lines == 1)


def test_without_a_thread_to_be_had_a_line_is_written_by_its_caller(
    pipe: tuple[int, TextIO], lost: Lost, monkeypatch: pytest.MonkeyPatch
):
    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't create new thread at interpreter shutdown")

    reading, stream = pipe
    output = open_output(stream, lost, told)
    monkeypatch.setattr(threading.Thread, "start", refuse)
    output.write(b"last words\n")
    assert os.read(reading, 100) == b"last words\n"


def test_a_full_disk_loses_lines_with_a_count_and_tears_none(
    tmp_path: Path, lost: Lost, monkeypatch: pytest.MonkeyPatch
):
    path = tmp_path / "log"
    real = os.write
    with path.open("w") as stream:
        output = open_output(stream, lost, told)
        output.write(b"before\n")
        monkeypatch.setattr(os, "write", lambda fd, data: real(fd, data[:3]) if len(data) > 4 else _full())
        output.write(b"cut off\n")
        output.write(b"cut off as well\n")
        monkeypatch.undo()
        output.write(b"after\n")
        output.write(b"and on\n")
    text = path.read_text()
    assert text.splitlines()[0] == "before"
    assert text.splitlines()[-3:] == ["lost 1", "after", "and on"]
    assert sum(map(int, re.findall(r"lost (\d+)", text))) == lost.lines == 2


def test_of_several_lines_only_those_are_lost_whose_end_is_missing(
    tmp_path: Path, lost: Lost, monkeypatch: pytest.MonkeyPatch
):
    path = tmp_path / "log"
    real = os.write
    with path.open("w") as stream:
        sink = Sink(stream, lost, told)
        monkeypatch.setattr(os, "write", lambda fd, data: real(fd, data[:5]) if len(data) > 7 else _full())
        sink.write(b"1\n2\n3\n4\n5\n6\n", 6)
        monkeypatch.undo()
        sink.write(b"7\n", 1)
    assert (path.read_text(), lost.lines) == ("1\n2\n3\nlost 4\n7\n", 4)


def _full() -> int:
    raise OSError(28, "No space left on device")


def test_a_closed_stream_loses_lines_and_never_writes_into_somebody_else_s_file(tmp_path: Path, lost: Lost):
    stream = (tmp_path / "log").open("w")
    output = open_output(stream, lost, told)
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
