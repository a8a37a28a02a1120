"""Numbers of one line: shared decimals that mean something, and that never contradict what the line says."""

from __future__ import annotations

import math
from typing import Any

import pytest

from vaeaudit.digits import spelled

INF = math.inf


def _always(_: list[float]) -> bool:
    return True


@pytest.mark.parametrize(
    ("figures", "bar", "width", "texts"),
    [
        ((0.2134, 0.1823, 0.2421), 0.3, 0.0598, ["0.21", "0.18", "0.24", "0.30"]),
        ((0.5, 0.447, 0.553), 0.3, 0.106, ["0.50", "0.45", "0.55", "0.30"]),
        ((0.51234, 0.51111, 0.51346), 0.3, 0.00235, ["0.5123", "0.5111", "0.5135", "0.3000"]),
        ((18.0, 16.1, 21.3), 200, 5.2, ["18.0", "16.1", "21.3", "200.0"]),
        ((12345.6, 10012.3, 15000.1), 20000, 4987.8, ["12346", "10012", "15000", "20000"]),
        ((1.34e-5, 1.06e-5, 1.72e-5), 2e-5, 6.6e-6, ["1.3e-05", "1.1e-05", "1.7e-05", "2.0e-05"]),
        ((6.2e8, 5.9e8, 6.6e8), 200, 7e7, ["6.2e+08", "5.9e+08", "6.6e+08", "2.0e+02"]),
        ((7.74, 7.24, 8.65), 1e9, 1.41, ["7.7", "7.2", "8.7", "1000000000.0"]),
        ((7.74, 7.24, 8.65), 1e-9, 1.41, ["7.74", "7.24", "8.65", "0.00"]),
        ((0.3, 0.3, 0.3), 0.25, 0.0, ["0.30", "0.30", "0.30", "0.25"]),
        ((0.3, 0.3, 0.3 + 1e-15), 0.25, 1e-15, ["0.30000", "0.30000", "0.30000", "0.25000"]),
        ((0.0, 0.0, 0.0), 0, 0.0, ["0.00", "0.00", "0.00", "0.00"]),
        ((0.512, 0.472, INF), 0.3, 0.08, ["0.51", "0.47", "inf", "0.30"]),
        ((0.5, -INF, INF), 0.3, INF, ["0.50", "-inf", "inf", "0.30"]),
        ((math.nan, -INF, INF), 0.3, INF, ["no figure", "-inf", "inf", "0.30"]),
        ((-82.8, -85.6, -78.7), -90, 6.9, ["-83", "-86", "-79", "-90"]),
        ((0.001, -0.002, 0.06), 0.3, 0.062, ["0.00", "0.00", "0.06", "0.30"]),
    ],
)
def test_figures_share_as_many_decimals_as_their_width_makes_meaningful(
    figures: Any, bar: float, width: float, texts: list[str]
) -> None:
    found, shown = spelled(figures, bar, width=width, holds=_always)
    assert [*found, shown] == texts


@pytest.mark.parametrize(("bar", "shown"), [(0.3, "0.30"), (0.125, "0.125"), (0.1234, "0.123"), (0.5, "0.50")])
def test_a_bar_keeps_one_decimal_more_of_its_own(bar: float, shown: str) -> None:
    assert spelled((0.2134, 0.1823, 0.2421), bar, width=0.0598, holds=_always)[1] == shown


def test_decimals_are_raised_until_the_line_holds() -> None:
    found, bar = spelled((0.25, 0.2, 0.29996), 0.3, width=0.1, holds=lambda x: x[2] < x[3])
    assert (found, bar) == (["0.25000", "0.20000", "0.29996"], "0.30000")
    found, bar = spelled((2e7, 1e7, 2.9999e7), 3e7, width=2e7, holds=lambda x: x[2] < x[3])
    assert (found[2], bar) == ("2.9999e+07", "3.0000e+07")


def test_neighbouring_floats_are_told_apart() -> None:
    below = math.nextafter(0.3, 0)
    found, bar = spelled((0.25, 0.2, below), 0.3, width=0.1, holds=lambda x: x[2] < x[3])
    assert float(found[2]) < float(bar)
