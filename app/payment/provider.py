"""The port to the outside payment provider, and the client that every call goes through.

A call ends in one of three ways: a verdict; `Verdict.UNKNOWN` when no answer came in time, where the money may or may not
have been booked; `Unavailable` when the call could not be made at all.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Protocol

from opentelemetry.trace import SpanKind, Status, StatusCode, Tracer

from app import deadline
from app.errors import DeadlineExceeded, Unavailable
from app.fault_injection import strike
from app.faults import Faults
from app.payment.domain import Payment, Verdict
from telemetry import conventions as c


class Provider(Protocol):
    """What the shop needs of a payment provider; every call is idempotent by the payment's id."""

    async def charge(self, payment_id: str, amount: int, currency: str) -> Verdict:
        """Book `amount` minor units."""
        ...

    async def status(self, payment_id: str) -> Verdict:
        """Tell what became of a payment; `UNKNOWN` when nothing is known of it, or not yet."""
        ...

    async def cancel(self, payment_id: str) -> Verdict:
        """Give back what was booked, and refuse to book it should it only arrive later."""
        ...


class ProviderClient:
    """Calls a provider with a time-out, inside a CLIENT span, where the fault point `payment.charge` strikes."""

    def __init__(self, provider: Provider, *, timeout: float, tracer: Tracer, faults: Faults) -> None:
        self._provider = provider
        self._timeout = timeout
        self._tracer = tracer
        self._faults = faults

    async def charge(self, payment: Payment) -> Verdict:
        """Book a payment; raises `Unavailable` when the provider cannot be reached."""

        async def send() -> Verdict:
            # Inside the span and the time-out: a slow or failing provider looks exactly like this.
            if (fault := self._faults.at("payment.charge")) is not None:
                await strike(fault, Unavailable("the payment provider is away"))
            return await self._provider.charge(payment.id, payment.amount, payment.currency)

        return await self._call(c.PROVIDER_CHARGE_SPAN, payment, send)

    async def status(self, payment: Payment) -> Verdict:
        """Ask what became of a payment."""
        return await self._call(c.PROVIDER_STATUS_SPAN, payment, lambda: self._provider.status(payment.id))

    async def cancel(self, payment: Payment) -> Verdict:
        """Give back what was booked, or refuse it in advance."""
        return await self._call(c.PROVIDER_CANCEL_SPAN, payment, lambda: self._provider.cancel(payment.id))

    async def _call(self, span: str, payment: Payment, send: Callable[[], Awaitable[Verdict]]) -> Verdict:
        try:
            async with self._span(span, payment), asyncio.timeout(deadline.remaining(self._timeout)):
                return await send()
        except (TimeoutError, DeadlineExceeded):
            return Verdict.UNKNOWN

    @asynccontextmanager
    async def _span(self, name: str, payment: Payment) -> AsyncIterator[None]:
        attributes = {c.PAYMENT_ID: payment.id}
        with self._tracer.start_as_current_span(
            name, kind=SpanKind.CLIENT, attributes=attributes, record_exception=False, set_status_on_exception=False
        ) as span:
            try:
                yield
            except (TimeoutError, Unavailable) as error:
                code = error.code if isinstance(error, Unavailable) else "timeout"
                span.set_attribute(c.ERROR_TYPE, code)
                span.set_status(Status(StatusCode.ERROR, str(error) or "no answer in time"))
                raise
