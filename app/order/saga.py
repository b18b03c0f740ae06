"""Drives orders from step to step: for the client that waits, and for orders whose driver died.

Who drives holds a lease on the row and renews it with every step. Any process takes over an order whose lease has run out;
the version in every statement lets the slower of two drivers notice, and idempotent steps let both have worked.

An order that is taken over goes forward only when its client sent an idempotency key and may still ask: they will be told.
Others are undone: their clients were told of an error and would order, and pay, a second time.
"""

import asyncio
import logging
import time
from typing import Final, Self

from opentelemetry import trace
from opentelemetry.trace import Link, Tracer
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from app import deadline, identity
from app.errors import ShopError, Unavailable
from app.order.domain import TRANSITIONS, Order
from app.order.steps import Steps
from app.order.store import BATCH, Store, TakenOver
from app.service import Resources
from telemetry import conventions as c

logger = logging.getLogger(__name__)

# What undoing one step may take, and what is left of the client's time for it.
UNDO_SECONDS: Final = 1.0
# How much longer than a step may take its lease is.
LEASE_MARGIN_SECONDS: Final = 2.0
# The answer has to travel, too.
ANSWER_SECONDS: Final = 0.1
RESUME_SECONDS: Final = 1.0
# How long a client is expected to ask again with its key.
FORWARD_FOR_SECONDS: Final = 60.0
_POLL_SECONDS: Final = 0.05
_PROPAGATOR: Final = TraceContextTextMapPropagator()


class Saga:
    """Drives orders; `patience` is how many seconds the steps that go forward may take together."""

    def __init__(self, store: Store, steps: Steps, tracer: Tracer, *, patience: float) -> None:
        self._store = store
        self._steps = steps
        self._tracer = tracer
        self._patience = patience
        self._running: set[asyncio.Task[Order]] = set()

    @classmethod
    def of(cls, resources: Resources) -> Self:
        """Make the driver of a running service."""
        patience = resources.settings.deadlines.rpc
        store = Store(resources.pool, lease=patience + LEASE_MARGIN_SECONDS)
        return cls(store, Steps(resources), resources.telemetry.tracer, patience=patience)

    @property
    def store(self) -> Store:
        """The orders."""
        return self._store

    async def run(self, order: Order) -> Order:
        """Drive our order to its end while the client waits, and return it as far as it has come when time is up.

        A client that goes away stops waiting, not the Saga: it has a task of its own.
        """
        left = deadline.remaining(self._patience)
        task = asyncio.create_task(self._drive(order, forward=max(left - UNDO_SECONDS, left / 2)))
        self._running.add(task)
        task.add_done_callback(self._forget)
        try:
            async with asyncio.timeout(left - ANSWER_SECONDS):
                return await asyncio.shield(task)
        except TakenOver:
            return await self.wait(order)
        except TimeoutError:
            return await self._store.by_id(order.id) or order

    async def wait(self, order: Order) -> Order:
        """Return an order that somebody else drives once its client can be answered, or as it is when time is up."""
        ends = time.monotonic() + deadline.remaining(self._patience) - ANSWER_SECONDS
        while not order.answerable and time.monotonic() < ends:
            await asyncio.sleep(_POLL_SECONDS)
            order = await self._store.by_id(order.id) or order
        return order

    async def take_over(self, order: Order, age: float) -> None:
        """Drive an abandoned order that is ours now to its end, in the shop's own name."""
        identity.enter(identity.THE_SHOP)
        with self._tracer.start_as_current_span(
            c.SAGA_RESUME_SPAN, links=_origin(order), attributes={c.ORDER_ID: order.id}
        ):
            try:
                if not order.key or age > FORWARD_FOR_SECONDS:
                    order = await self._give_up(order)
                order = await self._drive(order, forward=self._patience)
                logger.info("order %s was taken over and is %s", order.id, order.step)
            except (TakenOver, Unavailable) as error:
                logger.warning("order %s could not be taken over now: %s", order.id, error)
            except Exception:
                # One order that cannot be driven must not keep the others waiting.
                logger.exception("order %s could not be driven", order.id)

    async def _drive(self, order: Order, *, forward: float) -> Order:
        """Take step after step; steps that go forward have `forward` seconds together. Raises `TakenOver`."""
        ends = time.monotonic() + forward
        while not order.ended:
            try:
                changed = await self._step(order, ends - time.monotonic())
            except ShopError as error:
                logger.warning("order %s: %s failed and will be repeated: %s", order.id, order.step, error)
                await self._store.leave(order, RESUME_SECONDS)
                return order
            order = await self._store.advance(changed)
        return order

    async def _step(self, order: Order, left: float) -> Order:
        """Take one step; returns the order at the next. Raises the `ShopError` of a step that undoes."""
        transition = TRANSITIONS[order.step]
        try:
            with deadline.afresh(left if transition.otherwise else UNDO_SECONDS):
                return (await self._steps.take(transition.action, order)).succeeded()
        except ShopError as error:
            logger.info("order %s: %s: %s", order.id, order.step, error)
            return order.failed(error)

    async def _give_up(self, order: Order) -> Order:
        if TRANSITIONS[order.step].otherwise is None:
            return order
        return await self._store.advance(order.failed(Unavailable("the order was interrupted; nothing was charged")))

    def _forget(self, task: asyncio.Task[Order]) -> None:
        self._running.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None and not isinstance(error, TakenOver):
            logger.warning("a Saga was interrupted and will be taken over: %s", error)


async def resume(resources: Resources) -> None:
    """Take over abandoned orders, round after round; a full batch is followed by the next one at once."""
    saga = Saga.of(resources)
    while True:
        claimed = await saga.store.claim()
        await asyncio.gather(*(saga.take_over(order, age) for order, age in claimed))
        if len(claimed) < BATCH:
            await asyncio.sleep(RESUME_SECONDS)


def traceparent() -> str:
    """Return the current trace context as text (W3C), "" outside of one."""
    carrier: dict[str, str] = {}
    _PROPAGATOR.inject(carrier)
    return carrier.get("traceparent", "")


def _origin(order: Order) -> list[Link]:
    context = trace.get_current_span(_PROPAGATOR.extract({"traceparent": order.traceparent})).get_span_context()
    return [Link(context)] if context.is_valid else []
