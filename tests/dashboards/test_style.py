"""Colours that everybody tells apart, on a light ground and on a dark one: measured, as somebody colour-blind sees them."""

from itertools import combinations

import pytest

from dashboards import style as s

LIGHT, DARK = "#FFFFFF", "#181B1F"
# Severity 1.0 of Machado, Oliveira and Fernandes, "A Physiologically-based Model for Simulation of Color Vision
# Deficiency" (2009), over linear RGB.
SEEN = {
    "by most": ((1, 0, 0), (0, 1, 0), (0, 0, 1)),
    "protanopia": ((0.152286, 1.052583, -0.204868), (0.114503, 0.786281, 0.099216), (-0.003882, -0.048116, 1.051998)),
    "deuteranopia": ((0.367322, 0.860646, -0.227968), (0.280085, 0.672501, 0.047413), (-0.011820, 0.042940, 0.968881)),
}
XYZ = ((0.4124, 0.3576, 0.1805), (0.2126, 0.7152, 0.0722), (0.0193, 0.1192, 0.9505))
WHITE = (0.9505, 1.0, 1.089)
# A difference of 2.3 is just seen side by side; lines lie far apart.
TOLD_APART = 11.0


def linear(color):
    parts = [int(color[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    return [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]


def times(matrix, vector):
    return [sum(a * b for a, b in zip(row, vector, strict=True)) for row in matrix]


def lab(color, seen):
    found = times(XYZ, [min(1.0, max(0.0, part)) for part in times(SEEN[seen], linear(color))])
    f = [
        value ** (1 / 3) if value > 0.008856 else 7.787 * value + 16 / 116
        for value in (a / b for a, b in zip(found, WHITE, strict=True))
    ]
    return 116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])


def difference(one, other, seen):
    return sum((a - b) ** 2 for a, b in zip(lab(one, seen), lab(other, seen), strict=True)) ** 0.5


def contrast(one, other):
    high, low = sorted((times(XYZ, linear(color))[1] for color in (one, other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("seen", SEEN)
def test_series_are_told_apart(seen):
    assert min(difference(*pair, seen) for pair in combinations(s.SERIES, 2)) > TOLD_APART


@pytest.mark.parametrize("seen", SEEN)
def test_a_warning_is_not_taken_for_an_alarm(seen):
    assert difference(s.WARN, s.BAD, seen) > 2 * TOLD_APART


@pytest.mark.parametrize("ground", [LIGHT, DARK])
def test_judgements_are_read_on_both_grounds(ground):
    # WCAG 2.2, 1.4.11: large text, and what is needed to understand a graphic.
    assert min(contrast(color, ground) for color in (s.WARN, s.BAD)) >= 3


@pytest.mark.parametrize("ground", [LIGHT, DARK])
def test_lines_are_seen_on_both_grounds(ground):
    assert min(contrast(color, ground) for color in s.SERIES) >= 2
