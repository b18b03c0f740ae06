"""Redis and Valkey by redis-py: a span and an observation per command, or per pipeline.

redis-py can emit OpenTelemetry metrics of its own; leave that off, or commands count twice.
"""

from time import perf_counter
from types import TracebackType
from typing import Any

from opentelemetry.trace import SpanKind, Status, StatusCode
from redis.asyncio import Redis
from redis.asyncio.client import Pipeline

from . import conventions as c
from . import current


class _Command:
    """Measures one command, or one pipeline of `size` commands."""

    __slots__ = ("_name", "_span", "_start")

    def __init__(self, name: str, size: int = 0) -> None:
        attributes: dict[str, Any] = {c.DB_SYSTEM_NAME: c.REDIS, c.DB_OPERATION_NAME: name}
        if size:
            attributes[c.DB_OPERATION_BATCH_SIZE] = size
        self._name = name
        self._span = current.tracer().start_span(name, kind=SpanKind.CLIENT, attributes=attributes)
        self._start = perf_counter()

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        outcome = c.OUTCOME_OK if kind is None else c.OUTCOME_ERROR
        current.metrics().redis_duration[self._name, outcome].observe(perf_counter() - self._start)
        if kind is not None:
            self._span.set_attribute(c.ERROR_TYPE, kind.__qualname__)
            self._span.set_status(Status(StatusCode.ERROR, str(error)))
        self._span.end()


class TracedRedis(Redis):
    """An asyncio client whose commands are measured."""

    async def before(self, command: str) -> None:
        """Run inside each command's span, before it is sent: a seam for fault injection."""

    async def execute_command(self, *args: Any, **options: Any) -> Any:
        """Send a command."""
        name = str(args[0]).upper()
        with _Command(name):
            await self.before(name)
            return await super().execute_command(*args, **options)

    def pipeline(self, transaction: bool = True, shard_hint: str | None = None) -> "TracedPipeline":  # noqa: FBT001, FBT002 - redis-py's signature
        """Open a pipeline that is measured as one."""
        pipeline = TracedPipeline(self.connection_pool, self.response_callbacks, transaction, shard_hint)
        pipeline.client = self
        return pipeline


class TracedPipeline(Pipeline):
    """A pipeline that is one span and one observation."""

    client: TracedRedis

    async def execute(self, raise_on_error: bool = True) -> Any:  # noqa: FBT001, FBT002 - redis-py's signature
        """Send everything that was queued."""
        with _Command(c.REDIS_PIPELINE, len(self.command_stack)):
            await self.client.before(c.REDIS_PIPELINE)
            return await super().execute(raise_on_error)
