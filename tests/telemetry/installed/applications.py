"""Applications that know nothing of telemetry, and how they are started with it."""

PLAIN = """
import logging

async def app(scope, receive, send):
    if scope["type"] != "http":
        return
    logging.getLogger("theirs").warning("inside")
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"plain"})
"""
LITESTAR = """
import logging
from litestar import Litestar, get

@get("/items/{item:int}", sync_to_thread=False)
def read(item: int) -> int:
    logging.getLogger("theirs").warning("inside")
    return item

@get("/broken", sync_to_thread=False)
def broken() -> None:
    raise LookupError("deep inside")

app = Litestar([read, broken])
"""
FASTAPI = """
import logging
from fastapi import FastAPI

app = FastAPI()

@app.get("/items/{item}")
def read(item: int) -> int:
    logging.getLogger("theirs").warning("inside")
    return item

@app.get("/broken")
def broken() -> None:
    raise LookupError("deep inside")
"""
STARLETTE = """
import logging
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route

def read(request):
    logging.getLogger("theirs").warning("inside")
    return PlainTextResponse("7")

def broken(request):
    raise LookupError("deep inside")

app = Starlette(routes=[Route("/items/{item}", read), Route("/broken", broken)])
"""
TELEMETRY = "from goshop_telemetry import TelemetryMiddleware, configure\n"
PLUGIN = "from goshop_telemetry.litestar import TelemetryPlugin\n"
UVICORN = ("opentelemetry-instrument", "uvicorn", "app:app", "--port", "0")
# The distro and the configurator of the package opentelemetry-distro, which the environment has as well.
STOCK = {"OTEL_PYTHON_DISTRO": "distro", "OTEL_PYTHON_CONFIGURATOR": "configurator"}
HTTP_ONLY = {"OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf", "OTEL_METRICS_EXPORTER": "none"}
HTTP_ONLY |= {"OTEL_LOGS_EXPORTER": "none"}
