"""One-sided bounds: how often they miss the truth, by simulation at a fixed n, and what they do with odd samples."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from scipy import stats

from vaeaudit.errors import OptionError, ReportError
from vaeaudit.intervals import bounds_of_count, bounds_of_mean, bounds_of_median, fewest
from vaeaudit.samples import Sample
from vaeaudit.statistics import Estimate
from vaeaudit.verdict import Outcome, at_least, judge, level

INF = math.inf
ABOVE = np.nextafter
Floats = np.ndarray[Any, np.dtype[np.float64]]
Draw = Callable[[np.random.Generator, tuple[int, int]], Floats]
TRIALS = 4000
ALPHA = 0.05

MEDIANS: dict[str, tuple[Draw, float]] = {
    "normal": (lambda rng, size: rng.standard_normal(size), 0.0),
    "lognormal": (lambda rng, size: rng.lognormal(0.0, 0.8, size), 1.0),
    "tied": (lambda rng, size: rng.poisson(4.0, size).astype(float), float(stats.poisson(4.0).median())),
    "few values": (lambda rng, size: rng.integers(0, 3, size).astype(float), 1.0),
}
MEANS: dict[str, tuple[Draw, float]] = {
    "normal": (lambda rng, size: rng.standard_normal(size), 0.0),
    "share": (lambda rng, size: rng.beta(2.0, 5.0, size), 2 / 7),
    "skewed to the right": (lambda rng, size: rng.gamma(4.0, size=size), 4.0),
    "skewed to the left": (lambda rng, size: -rng.gamma(4.0, size=size), -4.0),
    "tied": (lambda rng, size: rng.poisson(4.0, size).astype(float), 4.0),
}
CASES = [
    *(pytest.param(bounds_of_median, *case, id=f"median, {name}") for name, case in MEDIANS.items()),
    *(pytest.param(bounds_of_mean, *case, id=f"mean, {name}") for name, case in MEANS.items()),
]


def _most(trials: int, rate: float) -> float:
    """More misses than this do not happen by chance at that rate: three standard errors."""
    return trials * rate + 3 * math.sqrt(trials * rate * (1 - rate))


def _outcomes(bounds: tuple[Floats, Floats], bar: float, *, looks: int = 1) -> list[Outcome]:
    """The verdict of every trial on `at_least(bar)`."""
    pairs = list(zip(*(side.tolist() for side in bounds), strict=True))
    figures = [Estimate(value=min(max(0.0, low), high), low=-INF, high=INF, n=24) for low, high in pairs]
    found = [
        judge("reach", figure, at_least(bar), bounds=pair, looks=looks).outcome
        for figure, pair in zip(figures, pairs, strict=True)
    ]
    assert "INVALID" not in found
    return found


@pytest.mark.parametrize("n", [24, 50])
@pytest.mark.parametrize(("bounds_of", "draw", "truth"), CASES)
def test_false_verdicts_are_no_more_frequent_than_stated(bounds_of: Any, draw: Draw, truth: float, n: int) -> None:
    bounds = bounds_of(draw(np.random.default_rng(n), (TRIALS, n)), level(1 - ALPHA))
    # the two hardest bars: the lowest that the truth misses, and the highest that it clears
    assert _outcomes(bounds, float(ABOVE(truth, INF))).count("PASS") <= _most(TRIALS, ALPHA)
    assert _outcomes(bounds, truth).count("FAIL") <= _most(TRIALS, ALPHA)


@pytest.mark.parametrize(("sigma", "n", "most"), [(0.5, 24, 0.075), (0.5, 50, 0.065), (1.0, 24, 0.11), (1.0, 50, 0.09)])
def test_strong_skew_costs_a_mean_a_little_and_students_t_much_more(sigma: float, n: int, most: float) -> None:
    draws, truth = np.random.default_rng(n).lognormal(0.0, sigma, (TRIALS, n)), math.exp(sigma**2 / 2)
    _, high = bounds_of_mean(draws, 1 - ALPHA)
    student = draws.mean(1) + stats.t.ppf(1 - ALPHA, n - 1) * draws.std(1, ddof=1) / math.sqrt(n)
    missed = np.array([(high < truth).mean(), (student < truth).mean()])
    assert missed[0] <= most + 3 * math.sqrt(most / TRIALS)
    assert missed[1] - ALPHA > 1.3 * (missed[0] - ALPHA)


@pytest.mark.parametrize("n", [24, 50])
@pytest.mark.parametrize("share", [0.1, 0.4])
def test_censored_values_never_make_false_verdicts_more_frequent(n: int, share: float) -> None:
    draws = np.random.default_rng(n).lognormal(0.0, 0.8, (TRIALS, n))
    # each is seen up to a limit of its own, below the median for some
    limit = np.random.default_rng(n + 1).lognormal(0.0, 0.8, (TRIALS, n))
    censored = (draws > limit) & (np.random.default_rng(n + 2).random((TRIALS, n)) < 2 * share)
    seen, upper = np.where(censored, limit, draws), np.where(censored, INF, draws)
    low, _ = bounds_of_median(seen, level(1 - ALPHA))
    _, high = bounds_of_median(upper, level(1 - ALPHA))
    assert _outcomes((low, high), float(ABOVE(1.0, INF))).count("PASS") <= _most(TRIALS, ALPHA)
    assert _outcomes((low, high), 1.0).count("FAIL") <= _most(TRIALS, ALPHA)


def _decided(bounds_of: Any, draws: Floats, sizes: tuple[int, ...], bar: float, looks: int) -> list[Outcome]:
    """The first verdict of every growing sample that is not INCONCLUSIVE."""
    looked = [_outcomes(bounds_of(draws[:, :size], level(1 - ALPHA, looks)), bar, looks=looks) for size in sizes]
    return [next((o for o in seen if o != "INCONCLUSIVE"), "INCONCLUSIVE") for seen in zip(*looked, strict=True)]


@pytest.mark.parametrize(("bounds_of", "draw", "truth"), CASES)
def test_looking_three_times_at_a_growing_sample_keeps_the_stated_rate(
    bounds_of: Any, draw: Draw, truth: float
) -> None:
    sizes = (24, 48, 96)
    draws = draw(np.random.default_rng(3), (TRIALS, sizes[-1]))
    passes = _decided(bounds_of, draws, sizes, float(ABOVE(truth, INF)), looks=3).count("PASS")
    fails = _decided(bounds_of, draws, sizes, truth, looks=3).count("FAIL")
    assert max(passes, fails) <= _most(TRIALS, ALPHA)


def test_without_the_correction_three_looks_would_pass_too_often() -> None:
    draws = np.random.default_rng(4).standard_normal((TRIALS, 96))
    passes = _decided(bounds_of_mean, draws, (24, 48, 96), 1e-9, looks=1).count("PASS")
    assert passes > _most(TRIALS, ALPHA)


@pytest.mark.parametrize("bounds_of", [bounds_of_median, bounds_of_mean])
def test_an_effect_of_clear_size_is_seen_most_of_the_time(bounds_of: Any) -> None:
    draws = np.random.default_rng(5).standard_normal((TRIALS, 50))
    bounds = bounds_of(draws, level(1 - ALPHA))
    # 0.6 standard deviations are about 3.4 standard errors of a median of 50
    assert _outcomes(bounds, -0.6).count("PASS") > 0.85 * TRIALS
    assert _outcomes(bounds, 0.6).count("FAIL") > 0.85 * TRIALS


@pytest.mark.parametrize("bounds_of", [bounds_of_median, bounds_of_mean])
def test_the_advice_on_how_many_more_settles_most_doubts(bounds_of: Any) -> None:
    rng, settled, asked = np.random.default_rng(6), 0, 0
    for _ in range(200):
        first = rng.standard_normal(24) + 0.25
        low, high = map(float, bounds_of(first, level()))
        value = float(np.median(first) if bounds_of is bounds_of_median else np.mean(first))
        figure = Estimate(value=value, low=-INF, high=INF, n=24)
        verdict = judge("reach", figure, at_least(0.0), bounds=(low, high))
        if verdict.outcome == "INCONCLUSIVE" and verdict.reason.startswith("about "):
            more = int(verdict.reason.split()[1])
            grown = np.append(first, rng.standard_normal(more) + 0.25)
            asked += 1
            settled += float(bounds_of(grown, level())[0]) >= 0 or float(bounds_of(grown, level())[1]) < 0
    assert asked > 50
    assert settled > 0.4 * asked


def test_bounds_of_a_median_are_the_order_statistics_of_the_sign_test() -> None:
    values = np.random.default_rng(7).permutation(np.arange(1.0, 11.0))
    # of 10: P(B <= 1) = 11 / 1024 and P(B <= 2) = 56 / 1024
    assert bounds_of_median(values, 0.95) == (2.0, 9.0)
    assert bounds_of_median(values, 1 - 11 / 1024) == (2.0, 9.0)
    assert bounds_of_median(values, 1 - 10.9 / 1024) == (1.0, 10.0)
    assert bounds_of_median(values, 1 - 56.1 / 1024) == (3.0, 8.0)


def test_bounds_of_a_symmetric_mean_are_those_of_students_t_or_wider() -> None:
    values = np.concatenate([np.arange(1.0, 13.0), -np.arange(1.0, 13.0)])
    low, high = bounds_of_mean(values, 0.95)
    half = float(stats.t.ppf(0.95, 23) * stats.sem(values))
    assert (low, high) == pytest.approx((-half, half), rel=1e-9)


def test_a_long_tail_pushes_the_bound_on_its_side_outwards() -> None:
    values = np.random.default_rng(8).gamma(2.0, size=24)
    low, high = bounds_of_mean(values, 0.95)
    half = float(stats.t.ppf(0.95, 23) * stats.sem(values))
    assert low == pytest.approx(values.mean() - half, rel=1e-9)
    assert high > values.mean() + 1.05 * half


@pytest.mark.parametrize("skewness", [0.0, 1e-9, 1e-4, 0.5, 2.0])
def test_halls_transformation_is_inverted(skewness: float) -> None:
    from vaeaudit.intervals import _untransformed

    for y in (-0.6, -0.1, 0.2, 0.7):
        t = float(_untransformed(y, np.array(skewness), 24))
        back = t + skewness * t**2 / 3 + skewness**2 * t**3 / 27 + skewness / (6 * 24)
        assert back == pytest.approx(y, abs=1e-9)


@pytest.mark.parametrize("bounds_of", [bounds_of_median, bounds_of_mean])
def test_bounds_do_not_depend_on_the_order_or_the_scale(bounds_of: Any) -> None:
    values = np.random.default_rng(9).gamma(2.0, size=30)
    low, high = bounds_of(values, 0.95)
    for other, (below, above) in ((values[::-1], (low, high)), (-1e-6 * values, (-1e-6 * high, -1e-6 * low))):
        assert np.allclose(bounds_of(other, 0.95), (below, above), rtol=1e-9, atol=0)


@pytest.mark.parametrize("bounds_of", [bounds_of_median, bounds_of_mean])
def test_a_higher_level_opens_the_bounds(bounds_of: Any) -> None:
    values = np.random.default_rng(10).gamma(2.0, size=40)
    levels = (0.6, 0.9, 0.95, 0.99)
    lows, highs = zip(*(bounds_of(values, level_) for level_ in levels), strict=True)
    assert list(lows) == sorted(lows, reverse=True)
    assert list(highs) == sorted(highs)


@pytest.mark.parametrize("bounds_of", [bounds_of_median, bounds_of_mean])
def test_equal_values_bound_themselves(bounds_of: Any) -> None:
    assert bounds_of(np.full(12, 0.1), 0.95) == (0.1, 0.1)


@pytest.mark.parametrize(
    ("statistic", "confidence", "n"), [("median", 0.95, 5), ("median", 0.99, 7), ("mean", 0.95, 6)]
)
def test_the_fewest_that_carry_a_bound(statistic: Any, confidence: float, n: int) -> None:
    assert fewest(statistic, confidence) == n
    for size, finite in ((n - 1, False), (n, True)):
        sample = Sample(values=np.arange(float(size)), statistic=statistic, originals=np.arange(size))
        assert bool(np.isfinite(sample.bounds(confidence)).all()) == finite


def test_no_values_have_no_bounds() -> None:
    for statistic in ("median", "mean", "count"):
        nothing = Sample(values=np.zeros(0), statistic=statistic, originals=np.arange(0), errors=np.zeros(0))
        assert nothing.bounds(0.95) == (-INF, INF)


def test_an_infinite_value_leaves_a_mean_without_bounds_and_a_median_with_them() -> None:
    values = np.append(np.arange(30.0), INF)
    assert bounds_of_mean(values, 0.95) == (-INF, INF)
    assert np.isfinite(bounds_of_median(values, 0.95)).all()


def test_upper_ends_open_the_upper_bound_only() -> None:
    values = np.arange(20.0)
    for open_, high in ((3, 14.0), (8, INF)):
        upper = np.where(values < open_, INF, values)
        sample = Sample(values=values, statistic="median", originals=np.arange(20), upper=upper)
        assert sample.bounds(0.95)[0] == 5.0
        assert (sample.bounds(0.95)[1] == INF) == (high == INF)
        assert sample.bounds(0.95)[1] > 14.0


def test_a_count_is_bounded_by_what_is_sure_and_what_is_possible() -> None:
    variances, errors = np.array([1.0, 0.012, 0.011, 0.0083, 1e-6]), np.array([0.1, 1e-3, 1e-3, 1e-3, 1e-7])
    # five units share the level: z is 2.33 instead of 1.64
    assert bounds_of_count(variances, errors, 0.01, 0.95) == (1.0, 4.0)
    assert bounds_of_count(variances, errors, 0.01, 0.6) == (2.0, 3.0)


def test_a_count_rarely_counts_a_unit_that_is_off() -> None:
    rng = np.random.default_rng(11)
    missed = 0
    for _ in range(TRIALS):
        found = 0.01 + 0.002 * rng.standard_normal(8)
        sure, _ = bounds_of_count(found, np.full(8, 0.002), 0.01, 1 - ALPHA)
        missed += sure > 0
    assert missed <= _most(TRIALS, ALPHA)


@pytest.mark.parametrize("wrong", [0.5, 1.0, 0, 95, math.nan, "0.95", True, None])
def test_a_level_lies_between_a_half_and_one(wrong: Any) -> None:
    sample = Sample(values=np.arange(20.0), statistic="median", originals=np.arange(20))
    with pytest.raises(OptionError, match=r"level expects a number above 0.5 and below 1, such as 0.95, got"):
        sample.bounds(wrong)


@pytest.mark.parametrize("field", ["originals", "targets", "upper"])
def test_a_sample_whose_arrays_do_not_match_is_refused(field: str) -> None:
    arrays: dict[str, Any] = {"originals": np.arange(4), field: np.arange(3)}
    with pytest.raises(ReportError, match=rf"Sample.{field} has shape \(3,\), expected \(4,\)"):
        Sample(values=np.arange(4.0), statistic="median", **arrays)


def test_a_count_needs_errors() -> None:
    with pytest.raises(ReportError, match="expects errors beside the values of a count"):
        Sample(values=np.arange(4.0), statistic="count", originals=np.arange(0))
