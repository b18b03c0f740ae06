"""A pipe whose reader is slow, stands still or is gone: nobody else is made to wait."""

import asyncio
import json
import logging
import os
import re
import time
from typing import Any, TextIO

import pytest

from telemetry import conventions as c
from telemetry.output import BufferedSink, LineOutput, Sink, open_output
from tests.telemetry.output.destinations import PATIENCE, Lost, told

talkative = logging.getLogger("talkative")


def test_a_line_after_the_end_waits_for_a_dead_reader_only_until_the_end_is_over(pipe: tuple[int, TextIO], lost: Lost):
    _, stream = pipe
    output = open_output(stream, lost, told)
    output.write(b"x" * 200_000 + b"\n")
    output.close(0.05)
    began = time.monotonic()
    for _ in range(1_000):
        output.write(b"afterwards\n")
    assert time.monotonic() - began < 1.0


def test_a_pipe_gets_every_line_in_order(pipe: tuple[int, TextIO], lost: Lost):
    reading, stream = pipe
    output = open_output(stream, lost, told)
    for number in range(1_000):
        output.write(b"%d\n" % number)
    got = b""
    while got.count(b"\n") < 1_000:
        got += os.read(reading, 65_536)
    assert got == b"".join(b"%d\n" % number for number in range(1_000))
    assert lost.lines == 0


def test_a_pipe_that_does_not_block_loses_nothing_either(pipe: tuple[int, TextIO], lost: Lost):
    reading, stream = pipe
    os.set_blocking(stream.fileno(), False)
    output = open_output(stream, lost, told)
    line = b"x" * 999 + b"\n"
    for _ in range(1_000):
        output.write(line)
    got = 0
    while got < 1_000_000:
        got += len(os.read(reading, 65_536))
    assert lost.lines == 0


def test_a_reader_who_stands_still_makes_nobody_wait_and_is_told_what_he_missed(pipe: tuple[int, TextIO], lost: Lost):
    reading, stream = pipe
    output = LineOutput(BufferedSink(Sink(stream, lost, told), limit=100_000))
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
    got += os.read(reading, 65_536)
    assert sum(map(int, re.findall(rb"lost (\d+)", got))) == lost.lines
    assert got.count(line) + lost.lines == 2_000


async def test_requests_are_served_while_nobody_reads_the_log(served: Any, pipe: tuple[int, TextIO]):
    reading, stream = pipe

    async def app(_scope: Any, _receive: Any, send: Any) -> None:
        talkative.warning("x" * 30_000)
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body"})

    async with served(app, stream=stream) as world:
        for _ in range(12):
            assert (await world.get()).status_code == 200
        # Far more than a pipe holds.
        got = b""
        while got.count(b'"access"') < 12 or not got.endswith(b"\n"):
            got += await asyncio.to_thread(os.read, reading, 65_536)
        assert world.telemetry.metrics.log_lines_lost._value.get() == 0
    every = [json.loads(line) for line in got.splitlines()]
    lines = [line for line in every if line[c.LOG_LOGGER] in {talkative.name, c.ACCESS_LOGGER}]
    assert [line[c.LOG_LOGGER] for line in lines] == [talkative.name, c.ACCESS_LOGGER] * 12
    assert all(a[c.LOG_TRACE_ID] == b[c.LOG_TRACE_ID] for a, b in zip(lines[::2], lines[1::2], strict=True))


async def test_requests_are_served_after_the_reader_of_the_log_is_gone(served: Any, eventually: Any):
    reading, writing = os.pipe()
    os.close(reading)

    async def app(_scope: Any, _receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body"})

    with os.fdopen(writing, "w") as stream:
        async with served(app, stream=stream) as world:
            for _ in range(5):
                assert (await world.get()).status_code == 200
            await eventually(lambda: world.telemetry.metrics.log_lines_lost._value.get() >= 5)


def test_closing_waits_for_the_buffer_but_not_for_ever(pipe: tuple[int, TextIO], lost: Lost):
    _, stream = pipe
    output = open_output(stream, lost, told)
    output.write(b"x" * 200_000 + b"\n")
    began = time.monotonic()
    output.close(0.05)
    assert 0.04 < time.monotonic() - began < 2.0


def test_a_piece_of_a_pipe_is_as_many_whole_lines_as_go_in_at_once(
    pipe: tuple[int, TextIO], lost: Lost, monkeypatch: pytest.MonkeyPatch
):
    reading, stream = pipe
    pieces: list[bytes] = []
    real = os.write
    monkeypatch.setattr(os, "write", lambda fd, data: (pieces.append(bytes(data)), real(fd, data))[1])
    Sink(stream, lost, told, most=10).write(b"1\n22\n333\n4444\n" + b"5" * 12 + b"\n6\n", 6)
    assert pieces == [b"1\n22\n333\n", b"4444\n", b"5" * 12 + b"\n", b"6\n"]
    assert os.read(reading, 100) == b"".join(pieces)
