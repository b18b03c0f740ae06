"""The way out for lines: one write per turn of the event loop, in order; nothing lost in silence, nobody made to wait."""

import asyncio
import io
import json
import logging
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

import pytest
import uvloop
from hypothesis import given
from hypothesis import strategies as st

from telemetry import conventions as c
from telemetry.output import TURN_LINES, BufferedSink, LineOutput, Sink, StreamOutput, open_output
from telemetry.spans import read_spans

talkative = logging.getLogger("talkative")

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


class Written:
    """A destination that remembers each write."""

    def __init__(self) -> None:
        self.pieces: list[bytes] = []
        self.lines = 0

    def write(self, data: bytes, lines: int) -> None:
        self.pieces.append(data)
        self.lines += lines

    def wait(self, timeout: float) -> None:
        pass

    def start_anew(self) -> None:
        pass


@pytest.fixture(params=[asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def runner(request: Any) -> Iterator[asyncio.Runner]:
    with asyncio.Runner(loop_factory=request.param) as runner:
        yield runner


def test_outside_of_a_loop_a_file_has_each_line_when_the_call_returns(tmp_path: Path, lost: Lost):
    path = tmp_path / "log"
    with path.open("w") as stream:
        output = open_output(stream, lost, told)
        output.write(b"one\n")
        assert path.read_bytes() == b"one\n"


def test_a_turn_of_the_loop_is_one_write(runner: asyncio.Runner):
    written = Written()
    output = LineOutput(written)

    async def turn(name: bytes) -> None:
        for number in range(3):
            output.write(b"%s%d\n" % (name, number))

    async def main() -> None:
        await asyncio.gather(turn(b"a"), turn(b"b"))
        await asyncio.sleep(0)
        assert len(written.pieces) == 1
        await turn(b"c")
        assert len(written.pieces) == 1

    runner.run(main())
    assert written.pieces == [b"a0\na1\na2\nb0\nb1\nb2\n", b"c0\nc1\nc2\n"]


def test_a_turn_that_says_much_is_written_before_it_is_over(runner: asyncio.Runner):
    written = Written()
    output = LineOutput(written)

    async def main() -> None:
        for _ in range(2 * TURN_LINES + 1):
            output.write(b"x\n")
        assert written.lines == 2 * TURN_LINES

    runner.run(main())
    assert written.lines == 2 * TURN_LINES + 1


def test_a_thread_s_line_goes_out_at_once_behind_what_the_loop_has_collected(runner: asyncio.Runner):
    written = Written()
    output = LineOutput(written)

    async def main() -> None:
        output.write(b"1 loop\n")
        thread = threading.Thread(target=output.write, args=(b"2 thread\n",))
        thread.start()
        thread.join()
        assert written.pieces == [b"1 loop\n2 thread\n"]
        output.write(b"3 loop\n")
        assert len(written.pieces) == 1

    runner.run(main())
    assert written.pieces[1:] == [b"3 loop\n"]


@pytest.mark.parametrize("factory", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_lines_of_a_loop_that_ended_in_the_middle_of_a_turn_do_not_stay_behind(factory: Any):
    written = Written()
    output = LineOutput(written)

    def last_turn(loop: asyncio.AbstractEventLoop, name: bytes) -> None:
        output.write(name)
        loop.stop()

    for name in (b"first\n", b"second\n"):
        loop = factory()
        loop.call_soon(last_turn, loop, name)
        loop.run_forever()
        loop.close()
    output.write(b"no loop\n")
    assert b"".join(written.pieces) == b"first\nsecond\nno loop\n"


def test_a_loop_that_takes_the_place_of_another_writes_by_itself(runner: asyncio.Runner):
    written = Written()
    output = LineOutput(written)
    dead = asyncio.new_event_loop()
    dead.call_soon(lambda: (output.write(b"dead\n"), dead.stop()))
    dead.run_forever()
    dead.close()

    async def main() -> None:
        output.write(b"alive\n")
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert written.lines == 2

    runner.run(main())


@pytest.mark.parametrize("factory", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_loops_and_threads_at_once_lose_nothing_and_keep_each_one_s_order(factory: Any):
    written = Written()
    output = LineOutput(written)
    each = 2_000

    async def in_loop(name: int) -> None:
        for number in range(each):
            output.write(b"%d %d\n" % (name, number))
            if number % 7 == 0:
                await asyncio.sleep(0)

    def looping(name: int) -> None:
        with asyncio.Runner(loop_factory=factory) as runner:
            runner.run(in_loop(name))

    def plain(name: int) -> None:
        for number in range(each):
            output.write(b"%d %d\n" % (name, number))

    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    threads = [threading.Thread(target=job, args=(name,)) for name, job in enumerate([looping, looping, plain, plain])]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    sys.setswitchinterval(before)
    output.close(PATIENCE)
    came = [tuple(map(int, line.split())) for line in b"".join(written.pieces).splitlines()]
    assert len(came) == written.lines == 4 * each
    for name in range(4):
        assert [number for who, number in came if who == name] == list(range(each))


@given(st.lists(st.lists(st.booleans(), max_size=5), max_size=8))
def test_lines_leave_in_the_order_in_which_they_came(turns: list[list[bool]]):
    written = Written()
    output = LineOutput(written)
    expected: list[bytes] = []

    async def main() -> None:
        for turn in turns:
            for in_thread in turn:
                expected.append(b"%d\n" % len(expected))
                if in_thread:
                    thread = threading.Thread(target=output.write, args=(expected[-1],))
                    thread.start()
                    thread.join()
                else:
                    output.write(expected[-1])
            await asyncio.sleep(0)

    asyncio.run(main())
    output.close(PATIENCE)
    assert b"".join(written.pieces) == b"".join(expected)


def test_after_it_is_closed_each_line_goes_out_at_once(runner: asyncio.Runner, pipe: tuple[int, TextIO], lost: Lost):
    reading, stream = pipe
    output = open_output(stream, lost, told)

    async def main() -> None:
        output.write(b"collected\n")
        output.close(PATIENCE)
        assert os.read(reading, 100) == b"collected\n"
        output.write(b"afterwards\n")
        assert os.read(reading, 100) == b"afterwards\n"

    runner.run(main())


def test_a_line_after_the_end_waits_for_a_dead_reader_only_until_the_end_is_over(pipe: tuple[int, TextIO], lost: Lost):
    _, stream = pipe
    output = open_output(stream, lost, told)
    output.write(b"x" * 200_000 + b"\n")
    output.close(0.05)
    began = time.monotonic()
    for _ in range(1_000):
        output.write(b"afterwards\n")
    assert time.monotonic() - began < 1.0


def test_a_finalizer_may_log_while_a_line_is_written():
    class Logging(Written):
        def write(self, data: bytes, lines: int) -> None:
            super().write(data, lines)
            if lines == 1 and data == b"outer\n":
                output.write(b"inner\n")

    written = Logging()
    output = LineOutput(written)
    output.write(b"outer\n")
    assert b"".join(written.pieces) == b"outer\ninner\n"


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


SHARING = """
import logging, sys, telemetry
shop = telemetry.configure("order")
for n in range(1000):
    logging.info("%s %d %s", sys.argv[1], n, "x" * (n % 900))
shop.shutdown(60.0)
"""


def test_lines_of_processes_that_share_a_pipe_are_neither_torn_nor_merged(pipe: tuple[int, TextIO]):
    reading, stream = pipe
    command = [sys.executable, "-c", SHARING]
    writers = [subprocess.Popen([*command, str(who)], cwd=ROOT, stdout=stream) for who in range(3)]
    stream.close()
    got = b""
    # Small pieces: the pipe is full nearly always, so that a large write goes in bit by bit.
    while piece := os.read(reading, 1_000):
        got += piece
    assert [writer.wait(PATIENCE) for writer in writers] == [0, 0, 0]
    came = [json.loads(line)["message"].split()[:2] for line in got.splitlines()]
    for who in range(3):
        assert [int(number) for name, number in came if name == str(who)] == list(range(1_000))


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


IN_A_LOOP = """
import asyncio, logging, os, sys, telemetry
shop = telemetry.configure("order")
async def main():
    logging.info("0")
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    for n in range(1, 100):
        logging.info("%d", n)
    if sys.argv[1] == "killed":
        os.kill(os.getpid(), 9)
    if sys.argv[1] == "shut down":
        shop.shutdown()
        logging.info("100")
        os._exit(0)
    if sys.argv[1] == "fails":
        raise SystemExit(1)
asyncio.run(main())
"""


@pytest.mark.parametrize("kind", ["file", "pipe"])
@pytest.mark.parametrize(("ending", "lines"), [("shut down", 101), ("fails", 100), ("returns", 100)])
def test_a_loop_that_ends_in_the_middle_of_a_turn_has_written_it(tmp_path: Path, kind: str, ending: str, lines: int):
    command = [sys.executable, "-c", IN_A_LOOP, ending]
    if kind == "file":
        with (tmp_path / "log").open("w") as log:
            subprocess.run(command, cwd=ROOT, stdout=log, check=False)
        text = (tmp_path / "log").read_text()
    else:
        text = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=False).stdout
    assert [json.loads(line)["message"] for line in text.splitlines()] == [str(n) for n in range(lines)]


def test_a_killed_process_loses_the_turn_that_it_was_in_and_no_other(tmp_path: Path):
    with (tmp_path / "log").open("w") as log:
        subprocess.run([sys.executable, "-c", IN_A_LOOP, "killed"], cwd=ROOT, stdout=log, check=False)
    assert [json.loads(line)["message"] for line in (tmp_path / "log").read_text().splitlines()] == ["0"]


SERVED = """
import asyncio, socket, telemetry, uvicorn
shop = telemetry.configure("order")
async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await asyncio.to_thread(shop.shutdown)
        await send({"type": "lifespan.shutdown.complete"})
        return
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body"})
layer = telemetry.TelemetryMiddleware(app, shop)
server = uvicorn.Server(uvicorn.Config(layer, lifespan="on", log_config=None, access_log=False))
with socket.create_server(("127.0.0.1", 0)) as listening:
    print(listening.getsockname()[1], flush=True)
    server.run(sockets=[listening])
"""


def test_a_server_that_is_told_to_stop_loses_no_line_not_even_its_last():
    with subprocess.Popen([sys.executable, "-c", SERVED], cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        port = int(process.stdout.readline())
        for _ in range(20):
            with socket.create_connection(("127.0.0.1", port)) as connection:
                connection.sendall(b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
                assert connection.recv(1_000).startswith(b"HTTP/1.1 200")
        process.send_signal(signal.SIGTERM)
        lines = [json.loads(line) for line in process.stdout]
    assert sum(line[c.LOG_LOGGER] == c.ACCESS_LOGGER for line in lines) == 20
    assert lines[-1][c.LOG_MESSAGE].startswith("Finished server process")


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


FORKED_IN_A_LOOP = """
import asyncio, logging, os, telemetry
shop = telemetry.configure("order")
async def main():
    logging.info("parent")
    if os.fork() == 0:
        logging.info("child")
        os._exit(0)
    logging.info("parent again")
asyncio.run(main())
os.wait()
"""


def test_a_fork_in_the_middle_of_a_turn_says_nothing_twice(tmp_path: Path):
    with (tmp_path / "log").open("w") as log:
        subprocess.run([sys.executable, "-c", FORKED_IN_A_LOOP], cwd=ROOT, stdout=log, check=True)
    messages = [json.loads(line)["message"] for line in (tmp_path / "log").read_text().splitlines()]
    assert sorted(messages) == ["child", "parent", "parent again"]
    assert messages[0] == "parent"


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
