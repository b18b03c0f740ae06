"""Zero code in processes that start, end, start again, and are several."""

import os
import re
import signal
import socket
import sys
import time
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.telemetry.installed.applications import (
    FASTAPI,
    HTTP_ONLY,
    PLAIN,
    STOCK,
    TELEMETRY,
)
from tests.telemetry.installed.arrived import metrics_of, servers


def test_an_application_that_fails_to_start_says_why_as_a_line(run: Any):
    failing = """
async def app(scope, receive, send):
    await receive()
    await send({"type": "lifespan.startup.failed", "message": "the database is gone"})
"""
    with run(failing, address=False) as process:
        assert process.process.wait(20) == 3
    assert [line for line in process.lines if line["level"] == "error" and "the database is gone" in line["message"]]


@pytest.mark.parametrize(
    ("source", "environ"),
    [
        (PLAIN, {}),
        (f"{TELEMETRY}{PLAIN}\napp = TelemetryMiddleware(app, configure('own'))", {}),
        (PLAIN, STOCK | HTTP_ONLY),
    ],
    ids=["nothing else", "a configuration of the application's", "another distribution"],
)
def test_a_stop_exports_and_writes_everything_first(run: Any, collector: Any, source: str, environ: dict[str, str]):
    with run(source, OTEL_BSP_SCHEDULE_DELAY="60000", **environ) as process:
        for _ in range(20):
            process.get()
        assert process.stop() == -signal.SIGTERM
    assert len(collector.spans) == len(process.access_lines) == 20
    assert process.lines[-1]["message"].startswith("Finished server process")


def test_a_stop_waits_five_seconds_for_a_silent_collector_and_says_what_was_not_exported(run: Any):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/v1/traces"
        # It has a lifespan, at whose end the layer waits for the first time.
        with run(FASTAPI, OTEL_EXPORTER_OTLP_TRACES_ENDPOINT=url) as process:
            process.get("/items/7")
            began = time.monotonic()
            process.stop()
            took = time.monotonic() - began
    assert 4.0 < took < 7.0
    assert "1 spans were not exported before the end" in process.messages("goshop_telemetry.uvicorn")


def test_each_worker_has_telemetry_and_a_port_for_its_metrics(
    run: Any, collector: Any, eventually_true: Any, free: int
):
    with run(PLAIN, "--workers", "2", OTEL_EXPORTER_PROMETHEUS_PORT=str(free)) as process:
        eventually_true(lambda: process.stdout.count("Application startup complete") == 2, process)
        with httpx.Client() as busy, httpx.Client() as other:
            for client in (busy, other) * 10:
                client.get(f"http://127.0.0.1:{process.port}/")
        scraped = metrics_of(process)
        process.stop()
    counts = [re.findall(r"^http_request_duration_seconds_count\S* (\d+)", text, re.MULTILINE) for text in scraped]
    assert len(scraped) == 2
    assert sum(int(count) for found in counts for count in found) == 20
    assert len(servers(collector)) == len(process.access_lines) == 20


def test_a_reloaded_application_has_telemetry_again(run: Any, collector: Any, eventually_true: Any, tmp_path: Path):
    with run(PLAIN, "--reload", "--reload-delay", "0.05") as process:
        process.get()
        changed = tmp_path / "work" / "app.py"
        changed.write_text(PLAIN.replace("plain", "changed"))
        os.utime(changed, (2_000_000_000, 2_000_000_000))
        eventually_true(lambda: process.stdout.count("Application startup complete") == 2, process)
        assert process.get().text == "changed"
        process.stop()
    assert len(collector.spans) == len(process.access_lines) == 2


def test_a_server_that_ends_leaves_the_telemetry_to_the_next_one(run: Any, collector: Any):
    program = """
import asyncio, httpx, uvicorn
async def once():
    server = uvicorn.Server(uvicorn.Config(app, port=0))
    serving = asyncio.create_task(server.serve())
    while not server.started:
        await asyncio.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    async with httpx.AsyncClient() as client:
        await client.get(f"http://127.0.0.1:{port}/")
    server.should_exit = True
    await serving
asyncio.run(once())
asyncio.run(once())
"""
    with run(PLAIN + program, command=("opentelemetry-instrument", sys.executable, "app.py"), address=False) as process:
        assert process.process.wait(20) == 0
    assert len(collector.spans) == len(process.access_lines) == 2
