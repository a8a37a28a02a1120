"""The beta series runs as its users run it, on a small folder in torchvision's layout, and its statistics are right."""

from __future__ import annotations

import json
import math
from functools import partial
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import scipy.stats

import vaeaudit

EXAMPLE = "beta_series"


def test_the_example_trains_audits_writes_its_results_and_uses_them_again(
    example: ModuleType,
    fashion_folder: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(example.vaeaudit, "audit", partial(vaeaudit.audit, pairs=6))  # a quarter of the preset's
    output = tmp_path / "series"
    arguments = [
        "--data", str(fashion_folder), "--dataset", "fashion", "--betas", "0.1,4", "--epochs", "40",
        "--images", "200", "--preset", "quick", "--output", str(output),
    ]  # fmt: skip
    found = example.main(arguments)
    assert [(model.beta, model.seed) for model in found["fashion"]] == [(0.1, 0), (4.0, 0)]
    assert (output / "beta_series.md").read_text() in capsys.readouterr().out
    assert (output / "beta_series.png").read_bytes().startswith(b"\x89PNG")
    kept = json.loads((output / "beta_series.json").read_text())["fashion"]
    assert [model["beta"] for model in kept["models"]] == [0.1, 4.0]
    assert kept["models"][0]["figures"]["reach"][0] == pytest.approx(found["fashion"][0].figures["reach"][0], rel=1e-4)

    def not_again(*_: object, **__: object) -> None:
        raise AssertionError("a model that was trained and audited is not trained or audited again")

    monkeypatch.setattr(example, "train", not_again)
    monkeypatch.setattr(example.vaeaudit, "audit", not_again)
    assert example.tables(example.main(arguments)) == example.tables(found)


def test_a_rank_correlation_is_scipys_and_lies_within_its_interval(example: ModuleType) -> None:
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=12), rng.integers(4, size=12)
    found = example.correlation(list(x), list(y + x))
    assert found.value == pytest.approx(scipy.stats.spearmanr(x, y + x).statistic)
    assert -1 < found.low < found.value < found.high < 1
    assert found.n == 12


def test_a_perfect_order_of_few_models_is_not_taken_for_certainty(example: ModuleType) -> None:
    found = example.correlation([1.0, 2, 3, 4, 5, 6], [6.0, 5, 4, 3, 2, 1])
    assert found.value == pytest.approx(-1)
    assert found.low == -1
    assert -0.9 < found.high < -0.3
    longer = example.correlation(list(np.arange(20.0)), list(-np.arange(20.0)))
    assert longer.high < found.high


def test_models_without_a_figure_are_left_out_and_counted(example: ModuleType) -> None:
    found = example.correlation([1.0, 2, 3, 4, 5], [2.0, math.nan, 3, 4, 5])
    assert (found.value, found.n) == (pytest.approx(1), 4)
    assert example.correlation([1.0, 2], [1.0, 2])[1:] == (-1, 1, 2)
    assert math.isnan(example.correlation([1.0, 2, 3, 4], [7.0, 7, 7, 7]).value)


@pytest.mark.parametrize("pearson", [0.0, 0.7, 0.97])
def test_the_intervals_hold_what_they_promise_for_ten_models(example: ModuleType, pearson: float) -> None:
    """Over many sets of ten normal pairs, of known rank correlation, at least about 95 % hold it."""
    truth = 6 / math.pi * math.asin(pearson / 2)
    rng = np.random.default_rng(2)
    example.RESAMPLES = 500
    held = 0
    for _ in range(200):
        x, noise = rng.normal(size=(2, 10))
        found = example.correlation(list(x), list(pearson * x + math.sqrt(1 - pearson**2) * noise))
        held += found.low <= truth <= found.high
    assert held / 200 > 0.95 - 3 * math.sqrt(0.95 * 0.05 / 200)
