"""The composition root: what every service is made of, in which order it starts and in which it stops.

Stop order: HTTP drains, gRPC drains, background tasks end, channels close, then pools, then the exporters flush. Closing a
channel first would give callers a cancellation instead of an answer.
"""

import asyncio
import contextlib
import logging
import signal
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from typing import Any, Final

import uvicorn
import uvloop
from redis.asyncio import BlockingConnectionPool
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from app import fault_injection, log_file
from app.config import Http, ServiceName, Settings, split
from app.db import Pool, migrate, open_pool
from app.discovery import StaticDiscovery
from app.errors import FAILURES
from app.faults import Faults, parse_faults
from app.http_protocol import BoundedProtocol
from app.internal import internal_app
from app.rpc_client import Peers
from app.rpc_server import Registration, make_server
from telemetry import Telemetry, TelemetryMiddleware, configure
from telemetry.conventions import NAMESPACE
from telemetry.loop import watch_event_loop_lag
from telemetry.redis import TracedRedis

logger = logging.getLogger(__name__)

GRACE_SECONDS: Final = 5.0


@dataclass(frozen=True, slots=True)
class Resources:
    """What a service is given; only what it asked for is there."""

    settings: Settings
    telemetry: Telemetry
    faults: Faults
    peers: Peers
    _pool: Pool | None = None
    _redis: TracedRedis | None = None

    @property
    def pool(self) -> Pool:
        """The pool of the service's own database."""
        assert self._pool is not None, "ask for it: create_service(..., database=True)"  # noqa: S101 - a mistake of ours
        return self._pool

    @property
    def redis(self) -> TracedRedis:
        """The cache and rate-limit store."""
        assert self._redis is not None, "ask for it: create_service(..., redis=True)"  # noqa: S101 - a mistake of ours
        return self._redis

    async def ready(self) -> dict[str, str]:
        """Ask each dependency of this process; returns what is wrong by name, nothing when all is well."""
        checks: dict[str, Callable[[], Awaitable[object]]] = {}
        if self._pool is not None:
            checks["postgresql"] = self._ping_database
        if self._redis is not None:
            checks["redis"] = self._redis.ping
        answers = await asyncio.gather(*(check() for check in checks.values()), return_exceptions=True)
        return {name: type(a).__name__ for name, a in zip(checks, answers, strict=True) if isinstance(a, Exception)}

    async def _ping_database(self) -> None:
        async with self.pool.connection() as conn:
            await conn.execute("SELECT 1")


Background = Callable[[Resources], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Service:
    """A service, not yet running."""

    name: ServiceName
    database: bool
    redis: bool
    rpc: Callable[[Resources], Sequence[Registration]] | None
    public: Callable[[Resources], Any] | None
    background: Sequence[Background]
    prepare: Background | None


def create_service(
    name: ServiceName,
    *,
    database: bool = False,
    redis: bool = False,
    rpc: Callable[[Resources], Sequence[Registration]] | None = None,
    public: Callable[[Resources], Any] | None = None,
    background: Sequence[Background] = (),
    prepare: Background | None = None,
) -> Service:
    """Describe a service.

    `rpc` makes its gRPC servicers, `public` its public ASGI application (the gateway's), each from the resources it asked
    for; `background` are loops that run as long as the service does and are started again when they fail; `prepare` runs
    once before anything is served.
    """
    return Service(name, database, redis, rpc, public, background, prepare)


def run(name: str, settings: Settings) -> None:
    """Run the service `app.<name>` until SIGTERM or SIGINT."""
    service: Service = import_module(f"app.{name}").app
    log_file.begin(name, settings.logs)
    uvloop.run(serve(service, settings))


async def serve(service: Service, settings: Settings) -> None:
    """Run a service on the current loop until SIGTERM or SIGINT, then stop it in order."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    # Explicitly: a background job of a shell inherits SIGINT as ignored.
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    async with running(service, settings):
        await stop.wait()
        logger.info("%s is stopping", service.name)


@asynccontextmanager
async def running(service: Service, settings: Settings) -> AsyncIterator[Resources]:
    """Start everything a service is made of; on leaving, stop it in the reverse order."""
    async with AsyncExitStack() as stack:
        resources = await _open(stack, service, settings)
        if service.prepare is not None:
            await service.prepare(resources)
        await _start_background(stack, service, resources)
        if service.rpc is not None:
            await _start_rpc(stack, service, resources)
        await _start_http(stack, service, resources)
        logger.info("%s is up in %s", service.name, settings.environment)
        yield resources


async def _open(stack: AsyncExitStack, service: Service, settings: Settings) -> Resources:
    telemetry = configure(
        service.name,
        environment=settings.environment,
        version=settings.release,
        trust_incoming=settings.trust_incoming,
        level=settings.log_level,
        namespace=NAMESPACE,
        failures=[status for error in FAILURES for status in (error.http_status, error.grpc_status.name)],
    )
    stack.push_async_callback(asyncio.to_thread, telemetry.shutdown)
    faults = Faults(_own(settings, service.name), armed=settings.faults_armed)
    pool = redis = None
    if service.database:
        pool = open_pool(settings, service.name, faults)
        stack.push_async_callback(pool.close)
        await pool.open(wait=True, timeout=30.0)
        await migrate(pool, service.name)
    if service.redis:
        redis = _open_redis(settings, service.name, faults)
        stack.push_async_callback(redis.aclose)
    peers = Peers(settings.rpc, StaticDiscovery(settings))
    stack.push_async_callback(peers.close)
    return Resources(settings, telemetry, faults, peers, pool, redis)


def _own(settings: Settings, service: str) -> tuple[Any, ...]:
    return tuple(fault for fault in parse_faults(settings.faults) if fault.point.startswith(f"{service}."))


def _open_redis(settings: Settings, service: str, faults: Faults) -> TracedRedis:
    timeout = settings.redis.timeout
    cls = fault_injection.faulty_redis(service, faults)
    # Blocking: in a burst the 65th request waits its turn instead of being told that the store is away.
    pool: BlockingConnectionPool = BlockingConnectionPool.from_url(
        settings.redis.url,
        timeout=timeout,
        socket_timeout=timeout,
        socket_connect_timeout=timeout,
        # No retries inside the driver: a rate limit or cache look-up that was slow once is not worth a second wait.
        retry=Retry(NoBackoff(), 0),
        decode_responses=False,
        max_connections=64,
    )
    return cls.from_pool(pool)  # type: ignore[return-value]  # redis-py types it as its own class


async def _start_background(stack: AsyncExitStack, service: Service, resources: Resources) -> None:
    loops: list[Background] = [_watch_loop, *service.background]
    if resources.settings.logs.folder:
        loops.append(partial(_keep_log_bounded, service.name))
    if resources.faults:
        logger.warning("faults are configured: %s", resources.settings.faults)
        fault_injection.arm_on_signal(resources.faults)
        loops += fault_injection.background(resources.faults)
    for body in loops:
        stack.push_async_callback(_cancel, asyncio.create_task(_keep_running(body, resources)))


async def _watch_loop(_resources: Resources) -> None:
    await watch_event_loop_lag()


async def _keep_log_bounded(name: str, resources: Resources) -> None:
    await log_file.keep_bounded(name, resources.settings.logs)


async def _keep_running(body: Background, resources: Resources) -> None:
    while True:
        try:
            await body(resources)
        except Exception:
            logger.exception("a background task failed; it starts again in a second")
        await asyncio.sleep(1.0)


async def _cancel(task: asyncio.Task[None]) -> None:
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


async def _start_rpc(stack: AsyncExitStack, service: Service, resources: Resources) -> None:
    assert service.rpc is not None  # noqa: S101 - the caller looked
    settings = resources.settings
    server = make_server(settings.rpc, service.rpc(resources), settings.listens(service.name, "grpc"))
    await server.start()
    stack.push_async_callback(server.stop, GRACE_SECONDS)


async def _start_http(stack: AsyncExitStack, service: Service, resources: Resources) -> None:
    settings = resources.settings
    if service.public is not None:
        # The public port has no probes to leave out: whoever asks for them there asks for what is not there.
        app = TelemetryMiddleware(service.public(resources), resources.telemetry, exclude=())
        await _listen(stack, app, settings.listens(service.name, "http"), settings.http)
    # Last: whoever is ready is ready altogether.
    internal = internal_app(resources.ready)
    await _listen(stack, internal, settings.listens(service.name, "internal"), settings.http)


class _Server(uvicorn.Server):
    """One of several servers of a process: the process handles the signals."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave the signals alone."""
        yield


async def _listen(stack: AsyncExitStack, app: Any, address: str, limits: Http) -> None:
    sock = _bound(address)
    config = uvicorn.Config(
        app,
        http=partial(BoundedProtocol, limits=limits),  # type: ignore[arg-type]  # uvicorn only calls it
        ws="none",
        log_config=None,
        access_log=False,
        lifespan="on",
        server_header=False,
        # app.gateway.client_address decides: uvicorn would believe an X-Forwarded-For that comes over loopback.
        proxy_headers=False,
        timeout_keep_alive=limits.idle_timeout,  # type: ignore[arg-type]  # goes to loop.call_later
        timeout_graceful_shutdown=round(GRACE_SECONDS),
    )
    server = _Server(config)
    task = asyncio.create_task(server.serve(sockets=[sock]))
    stack.push_async_callback(_drain, server, task)
    while not server.started:
        if task.done():
            task.result()
            raise RuntimeError(f"the server on {address} did not start")
        await asyncio.sleep(0.005)


def _bound(address: str) -> socket.socket:
    """Listen on host:port; raises `OSError` that names it."""
    host, port = split(address)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listener = socket.create_server((host, port), family=family, backlog=2048)
    except OSError as error:
        raise OSError(error.errno, f"cannot listen on {address}: {error.strerror}") from None
    # Opened again by its number, which finds out its protocol: asyncio sends small answers at once (TCP_NODELAY) only on
    # sockets that say TCP; the others wait 40 ms for an acknowledgement.
    return socket.socket(fileno=listener.detach())


async def _drain(server: uvicorn.Server, task: asyncio.Task[None]) -> None:
    server.should_exit = True
    await task
