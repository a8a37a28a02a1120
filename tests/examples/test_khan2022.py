"""The reproduction runs from one command, goes on where it stopped, and says what its figures say."""

from __future__ import annotations

import dataclasses
import importlib
import json
import math
import re
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

import vaeaudit

PARTS = (
    "settings",
    "training",
    "attacking",
    "measuring",
    "results",
    "claims",
    "sections",
    "__main__",
)


@pytest.fixture
def khan(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2]))
    for part in PARTS:
        module = importlib.import_module(f"examples.khan2022.{part}")
    return importlib.import_module(module.__package__ or "")


def test_one_command_ends_in_a_page_and_a_second_one_repeats_nothing_that_is_kept(
    khan: ModuleType, mnist_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    report: vaeaudit.AuditReport, audited: list[vaeaudit.Autoencoder],
) -> None:  # fmt: skip
    trained: list[str] = []
    plain = khan.training.train
    monkeypatch.setattr(khan.training, "train", lambda *given: trained.append(given[0].name) or plain(*given))
    out = tmp_path / "run"
    arguments = ["--data", str(mnist_folder), "--out", str(out), "--setting", "smoke"]
    results = khan.__main__.main(arguments)

    assert len(trained) == len(audited) == len(results.series) + len(results.trial) == 6
    kept = json.loads((out / "khan2022.json").read_text())
    assert [model["recipe"]["beta"] for model in kept["series"]] == [0.01, 10.0]
    error = kept["series"][0]["figures"]["reconstruction_error"]
    assert error[0] == pytest.approx(report.reconstruction_error.value, rel=1e-4)
    markdown, page = ((out / f"khan2022.{kind}").read_text() for kind in ("md", "html"))
    row = next(line for line in markdown.splitlines() if line.startswith("| reconstruction error"))
    assert row.count("|") == 2 + 1 + 2 + len(results.damages) + 1
    assert page.count("<table") == len(re.findall(r"^\| --- ", markdown, flags=re.MULTILINE))
    assert page.count("<svg") == 2
    assert len(khan.claims.judged(results)) == len(re.findall(r"^- \*\*", markdown, flags=re.MULTILINE))
    assert kept["versions"]["vaeaudit"] in markdown

    name = results.trial[0].recipe.name
    for file in [*(out / "measured").glob(f"{name}*"), out / "models" / f"{name}.safetensors"]:
        file.replace(file.with_suffix(".part"))  # as if it had been interrupted while that was written
    trained.clear()
    khan.__main__.main(arguments)
    assert trained == [name]
    assert (out / "khan2022.md").read_text() == markdown


def test_attacks_on_a_linear_model_do_what_its_eigenvalues_say(khan: ModuleType, linear: ModuleType) -> None:
    model = linear.linear_gaussian()
    size = khan.settings.Measuring(preset="quick", images=3, radii=(0.1, 2.0), steps=30, directions=3)
    found = khan.attacking.compared(model.autoencoder, linear.points(12, 3), size)
    encoder = torch.linalg.svdvals(model.weight).tolist()
    round_trip = torch.linalg.svdvals(model.decoder @ model.weight).tolist()
    for k in range(1, 4):
        for budget, radius in enumerate(size.radii):
            attack = found[f"encoder direction {k}"]
            assert attack["latent"][budget][0] == pytest.approx(radius * encoder[k - 1], rel=1e-5)
            assert attack["latent share"][budget][0] == pytest.approx(encoder[k - 1] / encoder[0], rel=1e-3)
            attack = found[f"round trip direction {k}"]
            assert attack["displacement"][budget][0] == pytest.approx(radius * round_trip[k - 1], rel=1e-5)
            assert attack["share"][budget][0] == pytest.approx(round_trip[k - 1] / round_trip[0], rel=1e-3)
    for name in ("maximum damage", "maximum damage, random starts"):
        assert found[name]["share"][1][0] == pytest.approx(1, abs=1e-3)
    assert found["latent attack"]["latent share"][1][0] == pytest.approx(1, abs=1e-3)
    assert found["random direction"]["share"][1][0] < 0.95


def test_released_conventions_on_a_linear_model(khan: ModuleType, linear: ModuleType) -> None:
    model, x = linear.linear_gaussian(k=5), linear.points(12, 2)
    found = khan.attacking.released(model.autoencoder, x)
    jacobian = model.decoder @ model.weight
    for part, matrix in (("encoder", model.weight), ("round trip", jacobian)):
        values = torch.linalg.svdvals(matrix)[:5]
        for kind, spectrum in (("singular values", values), ("eigenvalues", values**2)):
            scores, s = found["scores"][f"{part}, {kind}"], spectrum / spectrum[0]
            assert scores["radius"][0] == pytest.approx(float(spectrum[0]), rel=1e-6)
            assert scores["entropy"][0] == pytest.approx(float(-(s * (s + 1e-10).log()).sum()), rel=1e-6)
    _, values, vectors = torch.linalg.svd(jacobian)
    clean = model.autoencoder.reconstructions(x)
    for k in range(5):
        signs = [
            (clean + sign * 10.0 * values[k] * jacobian @ vectors[k] - x).square().mean(1).mean() for sign in (1, -1)
        ]
        assert min(abs(found["errors"][2][k][0] / float(error) - 1) for error in signs) < 1e-5


def _model(khan: ModuleType, beta: float, figures: dict[str, float], dataset: str = "mnist", **recipe: Any) -> Any:
    kind = {"method": "elbo", "seed": 0, "images": 10, "epochs": 1} | recipe
    attacks = {
        f"{way} direction {k}": {
            name: [(1.0 / k, 1.0 / k, 1.0 / k)] for name in ("displacement", "share", "latent", "latent share")
        }
        for way in ("encoder", "round trip")
        for k in (1, 2)
    }
    attacks |= dict.fromkeys(
        (khan.attacking.LATENT, khan.attacking.UNGUIDED, khan.attacking.RANDOM), attacks["encoder direction 2"]
    )
    return khan.measuring.Model(
        recipe=khan.settings.Recipe(dataset=dataset, beta=beta, **kind), findings=[], attacks=attacks, released={},
        figures={name: (value,) * 3 for name, value in figures.items()},
    )  # fmt: skip


def _results(khan: ModuleType, *, turned: tuple[str, ...] = (), mixup: float = -1.0) -> Any:
    """All that the paper claims, with a few columns turned round; mixup changes what should fall by so much."""
    falling = [
        f"{part}.{name}" for part in ("encoder", "round_trip") for name in ("spectral_radius", "von_neumann_entropy")
    ]
    falling += ["damage at 0.28", "damage at 1.4"]
    series = [
        _model(khan, beta, {
            **{name: beta if name in turned else -beta for name in falling},
            **{name: -beta if name in turned else beta for name in ("hinge", "reconstruction_error")},
        })
        for beta in range(1, 11)
    ]  # fmt: skip
    trial = [
        _model(khan, 1, {
            name: seed + sign * (0 if method == "elbo" else mixup + 0.01 * seed)
            for name, sign in (
                ("hinge", -1), ("auddc", -1), ("damage_gain", 1), ("round_trip.spectral_radius", 1),
                ("reconstruction_error", 1),
            )
        }, method=method, seed=seed)
        for seed in range(4) for method in ("elbo", "mixup")
    ]  # fmt: skip
    setting = dataclasses.replace(
        khan.settings.SETTINGS["smoke"],
        of_series=khan.settings.Measuring(preset="quick", images=1, radii=(0.5,), directions=2),
    )
    return khan.results.Results(setting=setting, series=series, trial=trial, versions={})


def test_claims_that_all_figures_bear_out_hold(khan: ModuleType) -> None:
    assert [claim.verdict for claim in khan.claims.judged(_results(khan))] == ["holds"] * 9


def test_claims_follow_the_figures(khan: ModuleType) -> None:
    verdicts = [claim.verdict for claim in khan.claims.judged(_results(khan, mixup=1.0))]
    assert verdicts == ["holds"] * 7 + ["does not hold here"] * 2
    results = _results(khan, turned=("encoder.spectral_radius", "hinge", "reconstruction_error"))
    verdicts = [claim.verdict for claim in khan.claims.judged(results)][3:7]
    assert verdicts == ["holds partly", "holds partly", "holds partly", "does not hold here"]


@pytest.mark.parametrize(
    ("outcomes", "verdict"),
    [
        ([True, True], "holds"), ([True, None], "holds partly"), ([True, False], "holds partly"),
        ([False, None], "does not hold here"), ([None], "cannot be told here"), ([], "cannot be told here"),
    ],
)  # fmt: skip
def test_a_verdict_takes_all_of_its_tests(khan: ModuleType, outcomes: list[bool | None], verdict: str) -> None:
    assert khan.claims.verdict_of(outcomes) == verdict


def test_a_figure_is_said_with_what_it_has(khan: ModuleType) -> None:
    said = khan.claims.said
    assert said((1.23456, 1.0, 2.0)) == "1.23 [1, 2]"
    assert said((math.nan, -1.0, 1.0)) == "–"
    assert said((2.0, -math.inf, math.inf)) == "2 (no interval)"
    assert said((2.0, 2.0, 2.0)) == "2"
    assert said((-0.00001, -1.0, 1.0)) == "-1e-05 [-1, 1]"


def test_released_figures_are_taken_at_the_nearest_beta(khan: ModuleType) -> None:
    references = importlib.import_module("examples.khan2022.references")
    assert [references.nearest(beta).beta for beta in (0.01, 0.0215, 1.0, 4.6, 30.0)] == [
        0.01,
        0.041,
        1.048,
        5.69,
        10.0,
    ]


def test_the_interval_over_seeds_is_students(khan: ModuleType) -> None:
    """1, 2, 3: mean 2, standard error 1 / sqrt 3, t(0.975, 2) = 4.3027."""
    found = khan.results.mean_over_seeds([1.0, math.nan, 2.0, 3.0])
    assert found == pytest.approx((2, -0.4841, 4.4841), abs=1e-4)
    assert khan.results.mean_over_seeds([2.0]) == (2, -math.inf, math.inf)
    assert math.isnan(khan.results.mean_over_seeds([])[0])
