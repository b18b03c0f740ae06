"""However a process ends, forks or shares its pipe: its lines are there, whole and once."""

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import TextIO

import pytest

from telemetry import conventions as c
from telemetry.spans import read_spans
from tests.telemetry.output.destinations import PATIENCE, ROOT

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
