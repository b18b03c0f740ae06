"""Charges, cancellations and refunds against the running service."""

import asyncio
import time
from collections.abc import Callable
from typing import Any

import psycopg
import pytest

from app.config import Settings
from app.errors import (
    Conflict,
    Forbidden,
    IdempotencyKeyReused,
    InsufficientFunds,
    InvalidRequest,
    NotFound,
    PaymentDeclined,
    Unauthenticated,
    Unavailable,
)
from app.identity import ADMIN, CUSTOMER, NOBODY, Caller
from app.ids import new_id
from app.payment.sandbox import DECLINED, LATE, LOST
from app.rpc.payment.v1 import payment_pb2 as pb

pytestmark = pytest.mark.asyncio(loop_scope="module")

OPENING = 10_000_000
PATIENCE = 10.0


async def test_an_account_opens_with_the_configured_balance(till: Any):
    user = new_id()
    assert await till.balance(user) == OPENING
    assert await till.entries(user) == [("opening", OPENING)]


async def test_a_charge_takes_the_amount_once_however_often_it_is_asked(till: Any):
    user, order = new_id(), new_id()
    answers = [await till.charge(user, 500, order_id=order) for _ in range(3)]
    assert {(a.id, a.state) for a in answers} == {(answers[0].id, "charged")}
    assert await till.entries(user) == [("opening", OPENING), ("charge", -500)]
    assert await till.balance(user) == OPENING - 500
    assert await till.booked(user) == 500


async def test_the_same_charge_from_many_sides_at_once_is_one_charge(till: Any):
    user, order = new_id(), new_id()
    answers = await asyncio.gather(*(till.charge(user, 500, order_id=order) for _ in range(10)))
    assert {a.id for a in answers} == {answers[0].id}
    assert await till.balance(user) == OPENING - 500


async def test_charges_at_once_never_take_more_than_there_is(till: Any):
    user = new_id()
    outcomes = await asyncio.gather(*(till.charge(user, OPENING // 3) for _ in range(10)), return_exceptions=True)
    assert sum(isinstance(o, InsufficientFunds) for o in outcomes) == 7
    assert await till.balance(user) == OPENING - 3 * (OPENING // 3)


async def test_money_given_back_while_a_charge_waits_for_the_account_covers_it(till: Any):
    user = new_id()
    spent = await till.charge(user, OPENING)
    async with till.resources.pool.connection() as conn, conn.transaction():
        # What a refund does first: the charge starts with a balance of 0 in its snapshot, and waits for this.
        await conn.execute("UPDATE accounts SET balance = balance + %s WHERE user_id = %s", (OPENING, user))
        waiting = asyncio.ensure_future(till.charge(user, 500))
        await waits_for_a_lock(till)
    assert (await waiting).state == "charged"
    assert await till.balance(user) == OPENING - 500
    assert (await till.payment(spent.order_id)).state == "charged"


async def waits_for_a_lock(till: Any) -> None:
    query = "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    ends = time.monotonic() + PATIENCE
    while not await till.rows(query):
        assert time.monotonic() < ends, "nobody waits for a lock"
        await asyncio.sleep(0.01)


async def test_what_the_balance_does_not_cover_is_refused_the_same_again(till: Any):
    user, order = new_id(), new_id()
    for _ in range(2):
        with pytest.raises(InsufficientFunds):
            await till.charge(user, OPENING + 1, order_id=order)
    assert (await till.payment(order)).state == "declined"
    assert await till.balance(user) == OPENING


async def test_another_amount_for_the_same_order_is_refused(till: Any):
    user, order = new_id(), new_id()
    await till.charge(user, 500, order_id=order)
    with pytest.raises(IdempotencyKeyReused):
        await till.charge(user, 501, order_id=order)


async def test_a_declined_charge_gives_the_money_back(till: Any):
    user, order = new_id(), new_id()
    for _ in range(2):
        with pytest.raises(PaymentDeclined):
            await till.charge(user, DECLINED, order_id=order)
    assert await till.entries(user) == [("opening", OPENING), ("charge", -DECLINED), ("refund", DECLINED)]
    assert (await till.payment(order)).reason == "payment_declined"


async def test_a_late_answer_is_repaired_by_the_synchronisation(till: Any, eventually: Any):
    user, order = new_id(), new_id()
    assert (await till.charge(user, LATE, order_id=order)).state == "pending"

    async def charged() -> bool:
        return (await till.payment(order)).state == "charged"

    await eventually(charged)
    assert await till.balance(user) == OPENING - LATE
    assert await till.booked(user) == LATE


async def test_a_lost_charge_is_given_up_and_the_money_comes_back(till: Any, eventually: Any):
    user, order = new_id(), new_id()
    assert (await till.charge(user, LOST, order_id=order)).state == "pending"
    assert await till.balance(user) == OPENING - LOST

    async def declined() -> bool:
        return (await till.payment(order)).state == "declined"

    await eventually(declined)
    assert await till.balance(user) == OPENING
    assert await till.booked(user) == 0


@pytest.mark.parametrize("amount", [500, LATE, LOST])
async def test_a_cancelled_charge_is_given_back_here_at_once_and_at_the_provider_in_time(
    till: Any, eventually: Any, amount: int
):
    user, order = new_id(), new_id()
    await till.charge(user, amount, order_id=order)
    answers = [await till.cancel(order) for _ in range(2)]
    assert [a.state for a in answers] == ["cancelled", "cancelled"]
    assert await till.balance(user) == OPENING

    await eventually(lambda: till.settled(user))
    assert await till.booked(user) == 0
    assert (await till.payment(order)).state == "cancelled"


async def test_a_charge_cancelled_while_the_provider_is_asked_does_not_stand(till: Any, eventually: Any):
    user, order = new_id(), new_id()
    charge = asyncio.create_task(till.charge(user, LATE, order_id=order))

    async def under_way() -> bool:
        return bool(await till.rows("SELECT 1 FROM payments WHERE order_id = %s", order))

    await eventually(under_way)
    assert (await till.cancel(order)).state == "cancelled"
    assert (await charge).state == "pending"
    await eventually(lambda: till.settled(user))
    assert (await till.balance(user), await till.booked(user)) == (OPENING, 0)


async def test_a_cancellation_that_comes_first_makes_the_charge_fail(till: Any):
    user, order = new_id(), new_id()
    for _ in range(2):
        assert (await till.cancel(order)).state == "cancelled"
    with pytest.raises(Conflict):
        await till.charge(user, 500, order_id=order)
    assert await till.balance(user) == OPENING


async def test_cancelling_a_declined_charge_changes_nothing(till: Any):
    user, order = new_id(), new_id()
    with pytest.raises(PaymentDeclined):
        await till.charge(user, DECLINED, order_id=order)
    assert (await till.cancel(order)).state == "declined"
    assert await till.balance(user) == OPENING


async def test_cancellation_and_charge_at_once_leave_no_money_behind(till: Any, eventually: Any):
    user = new_id()
    orders = [new_id() for _ in range(20)]
    calls = [call for o in orders for call in (till.charge(user, 100, order_id=o), till.cancel(o))]
    outcomes = await asyncio.gather(*calls, return_exceptions=True)
    assert all(isinstance(o, pb.Payment | Conflict) for o in outcomes)
    await eventually(lambda: till.settled(user))
    assert (await till.balance(user), await till.booked(user)) == (OPENING, 0)


async def test_a_refund_is_the_admins_and_gives_back_once(till: Any, eventually: Any):
    user = new_id()
    payment = await till.charge(user, 500)
    with pytest.raises(Forbidden):
        await till.refund(payment.id, "k", Caller(user, CUSTOMER))
    key = new_id()
    answers = [await till.refund(payment.id, key) for _ in range(2)]
    assert [a.state for a in answers] == ["refunded", "refunded"]
    assert await till.entries(user) == [("opening", OPENING), ("charge", -500), ("refund", 500)]
    await eventually(lambda: till.settled(user))
    assert await till.booked(user) == 0


async def test_a_second_refund_with_another_key_or_without_one_is_a_conflict(till: Any):
    payment = await till.charge(new_id(), 500)
    await till.refund(payment.id, new_id())
    for key in (new_id(), ""):
        with pytest.raises(Conflict):
            await till.refund(payment.id, key)


async def test_the_key_of_one_refund_does_not_refund_another_payment(till: Any):
    user, key = new_id(), new_id()
    first, second = await till.charge(user, 500), await till.charge(user, 500)
    await till.refund(first.id, key)
    with pytest.raises(IdempotencyKeyReused):
        await till.refund(second.id, key)
    assert await till.balance(user) == OPENING - 500


@pytest.mark.parametrize("key", ["\0", "a b", "x" * 256])
async def test_a_malformed_refund_key_is_an_invalid_request(till: Any, key: str):
    payment = await till.charge(new_id(), 500)
    with pytest.raises(InvalidRequest, match="idempotency_key"):
        await till.refund(payment.id, key)


async def test_what_was_never_charged_cannot_be_refunded(till: Any):
    order = new_id()
    with pytest.raises(PaymentDeclined):
        await till.charge(new_id(), DECLINED, order_id=order)
    with pytest.raises(Conflict):
        await till.refund((await till.payment(order)).id)


async def test_a_refunded_payment_stays_refunded_when_the_order_is_cancelled(till: Any):
    user = new_id()
    payment = await till.charge(user, 500)
    await till.refund(payment.id, new_id())
    assert (await till.cancel(payment.order_id)).state == "refunded"
    assert await till.balance(user) == OPENING


async def test_payments_and_balances_are_shown_to_their_owner_and_the_admin_only(till: Any):
    user = new_id()
    payment = await till.charge(user, 500)
    by_id = pb.GetPaymentRequest(payment_id=payment.id)
    for caller in (Caller(user, CUSTOMER), Caller("admin", ADMIN)):
        assert (await till.call("GetPayment", by_id, caller)).amount == 500
    stranger = Caller(new_id(), CUSTOMER)
    for method, request in (
        ("GetPayment", by_id),
        ("GetPayment", pb.GetPaymentRequest(order_id=payment.order_id)),
        ("GetBalance", pb.GetBalanceRequest(user_id=user)),
        ("CancelCharge", pb.CancelChargeRequest(order_id=payment.order_id)),
        ("Charge", pb.ChargeRequest(order_id=new_id(), user_id=user, amount=1, currency="EUR")),
    ):
        with pytest.raises(NotFound):
            await till.call(method, request, stranger)
        with pytest.raises(Unauthenticated):
            await till.call(method, request, NOBODY)


async def test_a_payment_is_asked_for_by_one_of_its_ids(till: Any):
    with pytest.raises(InvalidRequest):
        await till.call("GetPayment", pb.GetPaymentRequest(), Caller("admin", ADMIN))
    with pytest.raises(NotFound):
        await till.payment(new_id())


@pytest.mark.parametrize("statement", ["UPDATE entries SET amount = 0", "DELETE FROM entries", "TRUNCATE entries"])
async def test_the_ledger_cannot_be_rewritten(till: Any, statement: str):
    await till.balance(new_id())
    with pytest.raises(psycopg.errors.RaiseException):
        await till.rows(statement)


async def test_a_struck_provider_is_an_unavailable_dependency_and_costs_nothing(
    make_settings: Callable[..., Settings], open_with: Any, eventually: Any
):
    async with open_with(make_settings(faults="payment.charge=error")) as till:
        user, order = new_id(), new_id()
        with pytest.raises(Unavailable):
            await till.charge(user, 500, order_id=order)
        await till.cancel(order)
        await eventually(lambda: till.settled(user))
        assert (await till.balance(user), await till.booked(user)) == (OPENING, 0)
