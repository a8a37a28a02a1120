"""Numbers of one line in one format: as many digits as mean something, and never so few that the line is untrue."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from decimal import Decimal

NOTHING = "no figure"
_SHARE = 0.09
"""Rounding may move a number by this share of the width that the bounds leave open."""
_NARROWEST = 1e-3
"""Bounds closer than this share of a figure are as good as on it: their distance asks for no more digits."""
_SMALL, _LARGE = 1e-3, 1e6
_MOST_DIGITS = 17


def spelled(
    figures: Sequence[float], bar: float, *, width: float, holds: Callable[[list[float]], bool]
) -> tuple[list[str], str]:
    """Figures and the bar they are held against, all with the same number of decimals.

    Args:
        figures: any numbers; NaN becomes "no figure".
        bar: somebody's own number, which keeps one decimal more if it has it.
        width: how far the truth may lie from the figures; not finite or 0 where that is unknown.
        holds: whether what the line says is still so for the rounded figures and bar.

    Returns:
        The figures and the bar.
    """
    # the bar takes the figures' format: one that is far off must not cost them their digits
    largest = max((abs(number) for number in figures if math.isfinite(number)), default=0.0) or abs(bar)
    style = "f" if largest == 0 or _SMALL <= largest < _LARGE else "e"
    first = _decimals(style, largest, width)
    if style == "f":
        first = max(first, min(_own_decimals(bar), first + 1))
    for decimals in range(first, _MOST_DIGITS + 1):
        texts = [_spell(number, decimals, style) for number in (*figures, bar)]
        if holds([math.nan if text == NOTHING else float(text) for text in texts]):
            break
    return texts[:-1], texts[-1]


def _decimals(style: str, largest: float, width: float) -> int:
    """The fewest decimals that round by no more than their share of the width."""
    largest = largest or 1.0
    if not math.isfinite(width) or width <= 0:
        width = largest / 5
    width = max(width, largest * _NARROWEST)
    decimals = math.ceil(-math.log10(2 * _SHARE * width))
    if style == "e":
        decimals += math.floor(math.log10(largest))
    return min(max(decimals, 0), _MOST_DIGITS)


def _own_decimals(number: float) -> int:
    """How many decimals a number was written with: 0.125 has three."""
    exponent = Decimal(repr(float(number))).normalize().as_tuple().exponent
    return max(0, -exponent) if isinstance(exponent, int) else 0


def _spell(number: float, decimals: int, style: str) -> str:
    if math.isnan(number):
        return NOTHING
    text = f"{number:.{decimals}{style}}"
    # a negative number that rounds to nothing is no "-0.00"
    return text.removeprefix("-") if math.isfinite(number) and float(text) == 0 else text
