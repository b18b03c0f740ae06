"""Takes money and gives it back: first in our own books, then at the provider's, and finds out what became of the rest."""

from typing import Self

from app.errors import Conflict, PaymentDeclined
from app.payment.domain import Charge, Decision, Payment, State, Verdict, decide
from app.payment.provider import ProviderClient
from app.payment.sandbox import SandboxProvider
from app.payment.store import Store
from app.service import Resources


class Cashier:
    """Joins the books with the provider; `patience` is how many seconds a call is left to finish by itself."""

    def __init__(self, store: Store, provider: ProviderClient, *, patience: float) -> None:
        self._store = store
        self._provider = provider
        self._patience = patience

    @classmethod
    def of(cls, resources: Resources) -> Self:
        """Make the cashier of a running service."""
        settings = resources.settings.payment
        sandbox = SandboxProvider(resources.pool, late_after=settings.provider.late_after)
        provider = ProviderClient(
            sandbox,
            timeout=settings.provider.timeout,
            tracer=resources.telemetry.tracer,
            faults=resources.faults,
        )
        store = Store(resources.pool, currency=settings.currency, opening_balance=settings.opening_balance)
        return cls(store, provider, patience=settings.provider.timeout + settings.provider.sync_interval)

    @property
    def store(self) -> Store:
        """The books."""
        return self._store

    async def charge(self, command: Charge) -> Payment:
        """Charge once per order; a repeat of one still pending asks the provider again, which is idempotent too.

        Returns a charged payment, or a pending one when the provider did not answer in time. Raises `InsufficientFunds`,
        `PaymentDeclined`, `Conflict` when it was cancelled, `IdempotencyKeyReused` for another amount, `Unavailable`.
        """
        payment = await self._store.take(command, patience=self._patience)
        payment.require_same(command)
        if payment.state is State.PENDING:
            verdict = await self._provider.charge(payment)
            payment = await self._conclude(payment, decide(payment.state, verdict, overdue=False))
        payment.require_charged()
        return payment

    async def cancel(self, payment: Payment) -> Payment:
        """Undo a charge in whatever state; what was declined, cancelled or refunded stays so."""
        if payment.state in {State.PENDING, State.CHARGED}:
            return await self._store.cancel(payment)
        return payment

    async def refund(self, payment: Payment, key: str) -> Payment:
        """Refund a charge once; the same non-empty key is answered the same again. Raises `Conflict` otherwise."""
        if payment.state is State.CHARGED:
            payment = await self._store.refund(payment, key)
        elif payment.state is State.REFUNDED and not key:
            raise Conflict("the payment was refunded before")
        if payment.state is not State.REFUNDED:
            raise Conflict(f"the payment is {payment.state}: only a charged one can be refunded")
        if payment.refund_key != key:
            raise Conflict("the payment was refunded before, with another key")
        return payment

    async def settle(self, payment: Payment, *, overdue: bool) -> Decision:
        """Bring the provider's books and ours to agree on a payment; returns what was decided, `WAIT` for not yet."""
        decision = decide(payment.state, await self._provider.status(payment), overdue=overdue)
        if decision is Decision.CANCEL:
            verdict = await self._provider.cancel(payment)
            # What even cancelling leaves unknown is asked again later.
            decision = Decision.WAIT if verdict is Verdict.UNKNOWN else decide(payment.state, verdict, overdue=overdue)
        await self._conclude(payment, decision)
        return decision

    async def _conclude(self, payment: Payment, decision: Decision) -> Payment:
        match decision:
            case Decision.CHARGE:
                return await self._store.charged(payment)
            case Decision.DECLINE:
                return await self._store.decline(payment, PaymentDeclined.code)
            case Decision.SETTLED:
                await self._store.settled(payment)
        return payment
