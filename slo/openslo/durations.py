"""Lengths of time as OpenSLO and Prometheus spell them."""

from typing import Final

from slo.openslo.model import Window

MINUTE: Final = 60
HOUR: Final = 3600
DAY: Final = 86_400
_UNITS: Final = {"d": DAY, "h": HOUR, "m": MINUTE, "s": 1, "w": 7 * DAY}


def window_of(text: str) -> Window:
    """Return what `fields.Duration` spells."""
    return window(int(text[:-1]) * _UNITS[text[-1]])


def window(seconds: int) -> Window:
    """Return a length of time in the largest unit that gives a whole number, days at most: "28d" rather than "4w"."""
    unit = next(unit for unit in "dhms" if seconds % _UNITS[unit] == 0)
    return Window(seconds, f"{seconds // _UNITS[unit]}{unit}" if seconds else "0s")
