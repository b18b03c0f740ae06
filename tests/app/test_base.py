"""The small pieces every service stands on: errors, ids, deadlines, identity, faults."""

import time
import uuid

import grpc
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app import deadline, errors, identity
from app.faults import POINTS, Fault, FaultError, Faults, parse_faults
from app.ids import new_id, parse_id
from app.rpc_client import as_shop_error
from app.rpc_server import CODE_KEY


def test_every_error_has_its_own_code_and_is_drawn_in_the_tree() -> None:
    classes = list(errors.family())
    assert len({cls.code for cls in classes}) == len(classes)
    assert [cls.__name__ for cls in classes if cls.__name__ not in (errors.__doc__ or "")] == []


def rpc_error(status: grpc.StatusCode, details: str, code: str | None) -> grpc.aio.AioRpcError:
    trailing = grpc.aio.Metadata(*([(CODE_KEY, code)] if code else []))
    return grpc.aio.AioRpcError(status, grpc.aio.Metadata(), trailing, details)


@pytest.mark.parametrize("cls", list(errors.family(errors.ShopError)))
def test_an_error_crosses_grpc_as_itself(cls: type[errors.ShopError]) -> None:
    error = as_shop_error(rpc_error(cls.grpc_status, "words", cls.code))
    assert (type(error), str(error)) == (cls, "words")


@pytest.mark.parametrize("status", [s for s in grpc.StatusCode if s is not grpc.StatusCode.OK])
def test_a_bare_status_never_shows_the_inside_of_a_peer(status: grpc.StatusCode) -> None:
    error = as_shop_error(rpc_error(status, "failed to connect to 10.0.0.1:7082", None))
    assert "10.0.0.1" not in str(error)
    assert error.http_status >= 400


def test_ids_are_version_7_and_sort_by_time() -> None:
    first = new_id()
    time.sleep(0.002)  # a later millisecond is what is tested
    second = new_id()
    assert uuid.UUID(first).version == 7
    assert uuid.UUID(first).variant == uuid.RFC_4122
    assert first < second


@given(st.text())
def test_only_uuids_are_ids(text: str) -> None:
    try:
        assert uuid.UUID(text)
    except ValueError:
        with pytest.raises(errors.InvalidRequest, match="order_id"):
            parse_id(text, "order_id")
    else:
        assert parse_id(text) == str(uuid.UUID(text))


@given(st.lists(st.floats(0.1, 100), min_size=1, max_size=5))
def test_a_deadline_only_shrinks(seconds: list[float]) -> None:
    def nest(rest: list[float]) -> float:
        if not rest:
            return deadline.remaining(1000)
        with deadline.within(rest[0]):
            return nest(rest[1:])

    assert nest(seconds) <= min(seconds)
    assert deadline.remaining(7) == 7


def test_undoing_has_time_of_its_own_when_the_request_has_none_left() -> None:
    with deadline.within(-1):
        with deadline.afresh(5):
            assert 4 < deadline.remaining(10) <= 5
        with pytest.raises(errors.DeadlineExceeded):
            deadline.remaining(10)


def test_no_time_left_is_an_error_before_the_call() -> None:
    with deadline.within(-1), pytest.raises(errors.DeadlineExceeded):
        deadline.remaining(4)


def test_an_owner_an_admin_and_the_shop_pass_and_others_find_nothing() -> None:
    for caller, passes in [
        (identity.Caller("u1", identity.CUSTOMER), True),
        (identity.Caller("u2", identity.ADMIN), True),
        (identity.THE_SHOP, True),
        (identity.Caller("u2", identity.CUSTOMER), False),
    ]:
        token = identity.enter(caller)
        try:
            if passes:
                identity.require_owner("u1", "order")
            else:
                with pytest.raises(errors.NotFound):
                    identity.require_owner("u1", "order")
        finally:
            identity.leave(token)
    with pytest.raises(errors.Unauthenticated):
        identity.require_owner("u1", "order")


def test_a_fault_specification_is_read_whole() -> None:
    assert parse_faults("product.search=delay:900ms@5%, payment.charge=error@30%") == (
        Fault("product.search", "delay", 0.9, 0.05),
        Fault("payment.charge", "error", 0.0, 0.3),
    )
    assert parse_faults("payment.process=kill:5s")[0].seconds == 5.0
    assert parse_faults("") == ()


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("product.search", "is not POINT=KIND"),
        ("product.nothing=error", "there is no point"),
        ("product.search=kill:5s", "takes delay or error"),
        ("product.search=delay", "needs a duration"),
        ("product.search=error:5s", "takes no duration"),
        ("product.search=error@500%", "at most 100 %"),
        ("product.search=error@1%,product.search=delay:1s", "one fault a point"),
    ],
)
def test_a_bad_fault_specification_says_what_was_expected(spec: str, said: str) -> None:
    with pytest.raises(FaultError) as error:
        parse_faults(spec)
    assert said in str(error.value)


@given(st.integers(0, 2**128 - 1), st.sampled_from(sorted(POINTS)))
def test_retries_of_one_logical_call_meet_the_same_fate(trace_id: int, point: str) -> None:
    fault = Fault(point, "error", share=0.3)
    assert len({fault.strikes(trace_id) for _ in range(5)}) == 1


def test_the_share_of_struck_calls_is_the_stated_one() -> None:
    fault = Fault("product.search", "error", share=0.05)
    struck = sum(fault.strikes(uuid.uuid4().int) for _ in range(20_000))
    assert 800 < struck < 1200


def test_disarmed_faults_strike_nothing() -> None:
    faults = Faults((Fault("product.search", "error"),), armed=False)
    assert faults.at("product.search") is None
    faults.armed = True
    assert faults.at("product.search") is not None
