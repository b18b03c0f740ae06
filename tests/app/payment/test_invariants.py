"""Whatever is charged, cancelled and refunded in whatever order, the books agree in the end."""

import asyncio
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.errors import ShopError
from app.ids import new_id
from app.payment.sandbox import DECLINED, LATE, LOST

pytestmark = pytest.mark.asyncio(loop_scope="module")

OPENING = 10_000_000
AMOUNTS = st.sampled_from([0, 1, 500, OPENING // 2, OPENING, DECLINED, LATE, LOST])
FOLLOW_UPS = st.lists(st.sampled_from(["charge", "cancel", "refund"]), max_size=3)


async def buy(till: Any, user: str, amount: int, follow_ups: list[str]) -> None:
    """Charge, cancel and refund one order, all at once; what is refused is refused."""
    order = new_id()

    async def refund() -> None:
        await till.refund((await till.payment(order)).id, "")

    calls = {
        "charge": lambda: till.charge(user, amount, order_id=order),
        "cancel": lambda: till.cancel(order),
        "refund": refund,
    }
    outcomes = await asyncio.gather(*(calls[name]() for name in ["charge", *follow_ups]), return_exceptions=True)
    unexpected = [
        o for o in outcomes if isinstance(o, BaseException) and (type(o) is ShopError or not isinstance(o, ShopError))
    ]
    assert not unexpected


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(AMOUNTS, FOLLOW_UPS), min_size=1, max_size=12))
async def test_balance_ledger_and_provider_agree_once_all_is_settled(
    till: Any, eventually: Any, purchases: list[tuple[int, list[str]]]
):
    user = new_id()
    await asyncio.gather(*(buy(till, user, amount, follow_ups) for amount, follow_ups in purchases))
    await eventually(lambda: till.settled(user))

    balance = await till.balance(user)
    charged = sum(
        row["amount"]
        for row in await till.rows("SELECT amount FROM payments WHERE user_id = %s AND state = 'charged'", user)
    )
    assert balance == sum(amount for _, amount in await till.entries(user))
    assert 0 <= balance == OPENING - charged
    assert charged == await till.booked(user)
