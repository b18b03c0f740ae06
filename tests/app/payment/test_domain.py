"""What a payment may become, without any I/O."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.errors import Conflict, IdempotencyKeyReused, InsufficientFunds, InvalidRequest, PaymentDeclined
from app.ids import new_id
from app.payment.domain import (
    MAX_AMOUNT,
    TRANSITIONS,
    Charge,
    Decision,
    Payment,
    State,
    Verdict,
    decide,
    read_charge,
    sources,
)
from app.rpc.payment.v1 import payment_pb2 as pb
from app.timestamps import rfc3339

NOW = datetime(2026, 11, 23, tzinfo=UTC)
FINAL = [State.CHARGED, State.DECLINED, State.CANCELLED, State.REFUNDED]


def payment(state: State, reason: str = "", user_id: str = "alice", amount: int = 5) -> Payment:
    return Payment("id", "order", user_id, amount, "EUR", state, reason, "", NOW)


def test_every_state_has_its_transitions_and_none_leads_back():
    assert set(TRANSITIONS) == set(State)
    order = [State.PENDING, State.CHARGED]
    for state, targets in TRANSITIONS.items():
        assert all(target not in order[: order.index(state) + 1] for target in targets if state in order)


def test_money_goes_back_only_on_the_ways_that_take_it_out_of_the_shops_hands():
    assert sources(State.CANCELLED) == [State.PENDING, State.CHARGED]
    assert sources(State.DECLINED) == [State.PENDING]
    assert sources(State.REFUNDED) == [State.CHARGED]


def test_a_pending_charge_becomes_what_the_provider_says():
    assert decide(State.PENDING, Verdict.BOOKED, overdue=False) is Decision.CHARGE
    assert decide(State.PENDING, Verdict.DECLINED, overdue=False) is Decision.DECLINE
    assert decide(State.PENDING, Verdict.CANCELLED, overdue=True) is Decision.DECLINE


def test_a_charge_the_provider_does_not_know_is_waited_for_and_then_given_up():
    assert decide(State.PENDING, Verdict.UNKNOWN, overdue=False) is Decision.WAIT
    assert decide(State.PENDING, Verdict.UNKNOWN, overdue=True) is Decision.CANCEL


@given(state=st.sampled_from(State), verdict=st.sampled_from(Verdict), overdue=st.booleans())
def test_a_cancelled_charge_never_stands_and_an_unknown_one_is_never_taken_for_settled(
    *, state: State, verdict: Verdict, overdue: bool
):
    decision = decide(state, verdict, overdue=overdue)
    assert (decision is Decision.CHARGE) == (state is State.PENDING and verdict is Verdict.BOOKED)
    if state in {State.CANCELLED, State.REFUNDED}:
        closed = verdict in {Verdict.DECLINED, Verdict.CANCELLED}
        assert decision is (Decision.SETTLED if closed else Decision.CANCEL)


@given(st.sampled_from(State), st.sampled_from([Verdict.DECLINED, Verdict.CANCELLED, Verdict.BOOKED]))
def test_once_the_provider_has_decided_no_state_waits(state: State, verdict: Verdict):
    assert decide(state, verdict, overdue=False) is not Decision.WAIT


@pytest.mark.parametrize(
    ("state", "reason", "error"),
    [
        (State.DECLINED, "insufficient_funds", InsufficientFunds),
        (State.DECLINED, "payment_declined", PaymentDeclined),
        (State.CANCELLED, "cancelled", Conflict),
        (State.REFUNDED, "refunded", Conflict),
    ],
)
def test_a_payment_that_took_no_money_says_why(state: State, reason: str, error: type[Exception]):
    with pytest.raises(error):
        payment(state, reason).require_charged()


def test_a_repeat_with_another_amount_user_or_currency_is_refused():
    seen = payment(State.CHARGED)
    seen.require_same(Charge("order", "alice", 5, "EUR"))
    for other in (
        Charge("order", "alice", 6, "EUR"),
        Charge("order", "bob", 5, "EUR"),
        Charge("order", "alice", 5, "USD"),
    ):
        with pytest.raises(IdempotencyKeyReused):
            seen.require_same(other)


def test_a_charge_that_was_cancelled_before_it_came_is_a_conflict():
    with pytest.raises(Conflict):
        payment(State.CANCELLED, user_id="").require_same(Charge("order", "alice", 5, "EUR"))


@pytest.mark.parametrize(
    "change", [{"amount": -1}, {"amount": MAX_AMOUNT + 1}, {"currency": "USD"}, {"order_id": "x"}, {"user_id": ""}]
)
def test_a_malformed_charge_is_an_invalid_request(change: dict[str, object]):
    fields = {"order_id": new_id(), "user_id": new_id(), "amount": 5, "currency": "EUR"} | change
    with pytest.raises(InvalidRequest):
        read_charge(pb.ChargeRequest(**fields), "EUR")  # type: ignore[arg-type]


def test_timestamps_are_utc_with_a_z():
    assert rfc3339(NOW) == "2026-11-23T00:00:00Z"
