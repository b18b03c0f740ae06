"""Redis and Valkey by redis-py: a span and an observation per command, or per pipeline.

Keys, arguments and messages (which quote them) are not recorded. redis-py can emit OpenTelemetry metrics of its own; leave
that off, or commands count twice.
"""

import re
from time import perf_counter_ns
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final
from weakref import WeakKeyDictionary

from opentelemetry.trace import SpanKind
from redis.asyncio import ConnectionPool, Redis
from redis.asyncio.client import Pipeline

from . import conventions as c
from . import current
from .errors import error_type_of
from .recording import Template

if TYPE_CHECKING:
    from collections.abc import Mapping

# "GET", "SCRIPT LOAD"; anything else was not a command and must not become a label.
_COMMAND: Final = re.compile(r"[A-Z][A-Z0-9._]{0,23}( [A-Z][A-Z0-9_-]{0,23})?")

# Commands, and sizes of pipelines, whose spans are kept half encoded.
TEMPLATES: Final = 256
_templates: Final[WeakKeyDictionary[ConnectionPool, dict[tuple[str, int | None], Template]]] = WeakKeyDictionary()


class _Command:
    """Measures one command, or one pipeline of `size` commands."""

    __slots__ = ("_measured", "_name", "_start")

    def __init__(self, name: str, client: Redis, size: int | None = None) -> None:
        self._name = name
        self._measured = current.recorder().begin(_template(name, client, size))
        self._start = perf_counter_ns()

    def __enter__(self) -> None:
        pass

    def __exit__(self, _: type[BaseException] | None, error: BaseException | None, _tb: TracebackType | None) -> None:
        outcome = c.OUTCOME_OK if error is None else c.OUTCOME_ERROR
        took = perf_counter_ns() - self._start
        current.metrics().redis_duration[self._name, outcome].observe(took, self._measured.exemplar)
        if error is None:
            self._measured.conclude()
        else:
            more = {c.ERROR_TYPE: error_type_of(error)}
            self._measured.conclude(more, failed=True, description=type(error).__qualname__)


def _template(name: str, client: Redis, size: int | None) -> Template:
    """Return what the spans of a command share; made once for each pool of connections."""
    templates = _templates.setdefault(client.connection_pool, {})
    found = templates.get((name, size))
    if found is None:
        attributes = {c.DB_SYSTEM_NAME: c.REDIS, c.DB_OPERATION_NAME: name, **_peer(client)}
        if size is not None:
            attributes[c.DB_OPERATION_BATCH_SIZE] = size
        if len(templates) >= TEMPLATES:
            templates.clear()
        found = templates[name, size] = Template(name, SpanKind.CLIENT, attributes)
    return found


def _peer(client: Redis) -> dict[str, Any]:
    options: Mapping[str, Any] = client.connection_pool.connection_kwargs
    peer = {c.DB_NAMESPACE: str(options.get("db") or 0)}
    if path := options.get("path"):
        return {**peer, c.SERVER_ADDRESS: path}
    return {**peer, c.SERVER_ADDRESS: options.get("host", "localhost"), c.SERVER_PORT: options.get("port", 6379)}


def command_name(command: str | bytes) -> str:
    """Return the name that a command has in spans and labels."""
    text = command.decode("ascii", "replace") if isinstance(command, bytes) else command
    name = text.upper()
    return name if _COMMAND.fullmatch(name) else c.OTHER_METHOD


class TracedRedis(Redis):
    """An asyncio client whose commands are measured; scripts are `EVALSHA`, pipelines one `PIPELINE`."""

    async def before(self, command: str) -> None:
        """Run inside each command's span, before it is sent: a seam for fault injection."""

    async def execute_command(self, *args: Any, **options: Any) -> Any:
        """Send a command."""
        name = command_name(args[0])
        with _Command(name, self):
            await self.before(name)
            return await super().execute_command(*args, **options)  # type: ignore[no-untyped-call]

    def pipeline(self, transaction: bool = True, shard_hint: str | None = None) -> "TracedPipeline":  # noqa: FBT001, FBT002 - redis-py's signature
        """Open a pipeline that is measured as one."""
        return TracedPipeline(self, transaction=transaction, shard_hint=shard_hint)


class TracedPipeline(Pipeline):
    """A pipeline that is one span and one observation; what it sends at once (WATCH, and reads after it) has its own."""

    def __init__(self, owner: TracedRedis, *, transaction: bool, shard_hint: str | None) -> None:
        super().__init__(owner.connection_pool, owner.response_callbacks, transaction, shard_hint)
        self._owner = owner

    async def execute(self, raise_on_error: bool = True) -> Any:  # noqa: FBT001, FBT002 - redis-py's signature
        """Send everything that was queued; nothing queued is nothing measured."""
        if not self.command_stack and not self.watching:
            return await super().execute(raise_on_error)
        with _Command(c.REDIS_PIPELINE, self, len(self.command_stack)):
            await self._owner.before(c.REDIS_PIPELINE)
            return await super().execute(raise_on_error)

    async def immediate_execute_command(self, *args: Any, **options: Any) -> Any:
        """Send a command outside of the batch."""
        name = command_name(args[0])
        with _Command(name, self):
            await self._owner.before(name)
            return await super().immediate_execute_command(*args, **options)  # type: ignore[no-untyped-call]
