"""Signals as exceptions; each sent to this very process."""

import signal

import pytest

from goshop.interrupts import SIGNALS, Interrupted, Interrupts


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_raises_once_and_the_handlers_are_put_back(number):
    before = [signal.getsignal(n) for n in SIGNALS]
    with pytest.raises(Interrupted) as caught, Interrupts():
        signal.raise_signal(number)
    assert caught.value.number == number
    assert [signal.getsignal(n) for n in SIGNALS] == before


def test_a_second_signal_is_ignored_while_the_first_is_handled():
    def interrupted_twice():
        try:
            signal.raise_signal(signal.SIGINT)
        finally:
            signal.raise_signal(signal.SIGTERM)

    with pytest.raises(Interrupted) as caught, Interrupts():
        interrupted_twice()
    assert caught.value.number == signal.SIGINT


def test_a_signal_during_the_clean_up_waits_for_its_end():
    cleaned = []

    def clean_up(interrupts):
        interrupts.hold()
        signal.raise_signal(signal.SIGTERM)
        cleaned.append(True)

    with pytest.raises(Interrupted) as caught, Interrupts() as interrupts:
        clean_up(interrupts)
    assert cleaned
    assert caught.value.number == signal.SIGTERM


@pytest.fixture
def ignored():
    """SIGINT and SIGHUP ignored, as nohup and a background job of a shell leave them."""
    before = {number: signal.signal(number, signal.SIG_IGN) for number in (signal.SIGINT, signal.SIGHUP)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.usefixtures("ignored")
def test_ignored_interrupts_are_heard_and_an_ignored_hangup_stays_ignored():
    def hang_up_then_interrupt():
        signal.raise_signal(signal.SIGHUP)
        signal.raise_signal(signal.SIGINT)

    with pytest.raises(Interrupted) as caught, Interrupts():
        hang_up_then_interrupt()
    assert caught.value.number == signal.SIGINT
