"""Exact decimals as text: 0.001 is "0.001", never 0.0009999999999999432 and never 1E-3."""

from decimal import Decimal
from typing import Final

_PER_CENT: Final = 2


def exact(number: Decimal) -> str:
    """Return a number without an exponent and without zeros that say nothing."""
    text = f"{number:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def percent(share: Decimal) -> str:
    """Return a share in per cent, without the sign: "99.5"."""
    return exact(share.scaleb(_PER_CENT))


def written(number: float) -> Decimal:
    """Return what a float was read from: 0.8 and not the nearest binary fraction."""
    return Decimal(repr(number))
