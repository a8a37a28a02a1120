"""Claims are told with their verdicts, and what was kept is not made again."""

from __future__ import annotations

import importlib
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from torch import nn

from vaeaudit.report.pages.markdown import rendered


@pytest.fixture
def papers(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2]))
    for part in ("claims", "keeping"):
        module = importlib.import_module(f"examples.papers.{part}")
    return importlib.import_module(module.__package__ or "")


def test_claims_are_listed_with_their_verdicts_and_counted(papers: ModuleType) -> None:
    claims = papers.claims
    found = [
        claims.Claim(says="It is.", verdict="holds", shown="by 2 [1, 3]", source="the paper"),
        claims.Claim(says="It is not.", verdict="does not hold", shown="By 4."),
    ]
    assert claims.listed(found) == (
        "- **holds**: It is. (the paper)\n\n  By 2 [1, 3].\n- **does not hold**: It is not.\n\n  By 4."
    )
    assert claims.counted(found, ("holds", "not settled")) == "holds: 1, not settled: 0"


def test_every_verdict_of_a_page_has_its_colour(papers: ModuleType) -> None:
    html = rendered(
        papers.claims.listed([papers.claims.Claim(says="S", verdict="holds", shown="f")]), papers.claims.COLOURS
    )
    assert '<strong style="color: var(--third)">holds</strong>: S' in html
    for study in ("khan2022", "tabacof2016"):
        module = importlib.import_module(f"examples.{study}.claims")
        given = getattr(module, "VERDICTS", None) or (module.HOLDS, module.PARTLY, module.NOT, module.OPEN)
        assert set(given) <= set(papers.claims.COLOURS)


def test_what_is_kept_is_not_made_again(papers: ModuleType, tmp_path: Path) -> None:
    keeping, made = papers.keeping, []

    def trained() -> nn.Module:
        made.append("model")
        return nn.Linear(2, 1)

    def measured() -> dict[str, np.ndarray]:
        made.append("arrays")
        return {"x": np.arange(3)}

    def found() -> list[int]:
        made.append("json")
        return [1, 2]

    first = keeping.kept_model(nn.Linear(2, 1), tmp_path / "a" / "model.safetensors", trained)
    again = keeping.kept_model(nn.Linear(2, 1), tmp_path / "a" / "model.safetensors", trained)
    assert bool((first.weight == again.weight).all())
    assert not again.training
    for _ in range(2):
        assert keeping.kept_arrays(tmp_path / "b" / "x.npz", measured)["x"].tolist() == [0, 1, 2]
        assert keeping.kept_json(tmp_path / "c" / "x.json", found) == [1, 2]
    assert made == ["model", "arrays", "json"]


def test_a_measurement_that_is_interrupted_leaves_nothing_behind(papers: ModuleType, tmp_path: Path) -> None:
    def interrupted() -> None:
        raise KeyboardInterrupt

    for keep, file in (
        (papers.keeping.kept_arrays, tmp_path / "x.npz"),
        (papers.keeping.kept_json, tmp_path / "x.json"),
    ):
        with pytest.raises(KeyboardInterrupt):
            keep(file, interrupted)
    assert not list(tmp_path.iterdir())


def test_figures_are_kept_to_five_digits_and_none_where_there_is_none(papers: ModuleType) -> None:
    values = {"a": np.array([[1.23456789, np.nan], [np.inf, 2.0]]), "b": (np.bool_(True), 3, "x"), "c": np.array(7)}
    assert papers.keeping.plain(values) == {"a": [[1.2346, None], [None, 2.0]], "b": [True, 3, "x"], "c": 7}
