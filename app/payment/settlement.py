"""The status synchronisation: asks the provider about every payment whose outcome there is not known to agree with ours."""

import asyncio
import logging

from opentelemetry.trace import Tracer

from app.errors import Unavailable
from app.payment.cashier import Cashier
from app.payment.domain import Decision, Payment
from app.payment.store import BATCH
from app.service import Resources
from telemetry import conventions as c

logger = logging.getLogger(__name__)


async def synchronise(resources: Resources) -> None:
    """Settle what is due, round after round; a full batch is followed by the next one at once."""
    settings = resources.settings.payment.provider
    cashier, tracer = Cashier.of(resources), resources.telemetry.tracer
    while True:
        due = await cashier.store.claim(interval=settings.sync_interval, give_up_after=settings.give_up_after)
        await asyncio.gather(*(_settle(cashier, tracer, payment, overdue=overdue) for payment, overdue in due))
        if len(due) < BATCH:
            await asyncio.sleep(settings.sync_interval)


async def _settle(cashier: Cashier, tracer: Tracer, payment: Payment, *, overdue: bool) -> None:
    """Settle one payment; what fails comes again by itself, later each time."""
    attributes = {c.PAYMENT_ID: payment.id, c.ORDER_ID: payment.order_id}
    with tracer.start_as_current_span(c.PAYMENT_SYNC_SPAN, attributes=attributes):
        try:
            decision = await cashier.settle(payment, overdue=overdue)
        except Unavailable as error:
            logger.warning("payment %s could not be settled yet: %s", payment.id, error)
            return
        except Exception:
            # One payment that cannot be settled must not keep the others of its batch waiting.
            logger.exception("payment %s could not be settled", payment.id)
            return
        if decision is not Decision.WAIT:
            logger.info("payment %s of order %s (%s): %s", payment.id, payment.order_id, payment.state, decision)
