"""The study of the first paper runs from one command, goes on where it stopped, and says what its figures say."""

from __future__ import annotations

import hashlib
import importlib
import json
import re
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import scipy.io
import torch
import torchvision

ROOT = Path(__file__).parents[2]


@pytest.fixture
def study(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(ROOT))
    for part in (
        "settings",
        "images",
        "attacking",
        "study",
        "comparing",
        "claims",
        "pictures",
        "sections",
        "__main__",
    ):
        package = importlib.import_module(f"examples.tabacof2016.{part}")
    return importlib.import_module(package.__package__)


@pytest.fixture
def svhn_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Coloured bars in SVHN's own format, whose checksums torchvision is told."""
    folder = tmp_path / "data" / "SVHN"
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    splits = dict(torchvision.datasets.SVHN.split_list)
    for split, count in (("train", 120), ("test", 40)):
        labels = np.arange(count) % 10
        pixels = rng.integers(0, 60, (32, 32, 3, count))
        for i, label in enumerate(labels):
            pixels[:, 3 * label : 3 * label + 4, label % 3, i] += 180
        file = folder / f"{split}_32x32.mat"
        # SVHN calls its zeros 10
        scipy.io.savemat(
            file, {"X": pixels.astype(np.uint8), "y": np.where(labels == 0, 10, labels)[:, None].astype(np.uint8)}
        )
        address, name, _ = splits[split]
        splits[split] = [address, name, hashlib.md5(file.read_bytes()).hexdigest()]
    monkeypatch.setattr(torchvision.datasets.SVHN, "split_list", splits)
    return folder.parent


def test_one_command_ends_in_a_page_and_a_second_one_repeats_nothing(
    study: ModuleType, mnist_folder: Path, svhn_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--data", str(mnist_folder), "--out", str(tmp_path / "run"), "--setting", "smoke"]
    files = study.__main__.main(arguments)
    assert "training svhn-vae" in capsys.readouterr().out
    first = {file.name: file.read_bytes() for file in files}
    results = json.loads(first["tabacof2016.json"])
    assert list(results["duels"]) == ["mnist", "mnist-gaussian", "svhn"]
    assert results["pending"] == ["fashion"]
    assert set(results["classifiers"]) == {"mnist", "svhn"}
    assert not all(results["duels"]["mnist"]["attacks"]["vae"]["latent"]["excluded"])
    for duel in results["duels"].values():
        vae, ae = (duel["attacks"][role]["latent"] for role in ("vae", "ae"))
        assert np.all(np.array(vae["distortion"]) >= 0)
        assert all(width is None for width in ae["widening"])
        assert len(duel["pairs"]) == study.settings.SMOKE.pairs

    (tmp_path / "run" / "smoke" / "svhn-ae-latent.npz").unlink()
    settings = {"data": mnist_folder, "folder": tmp_path / "run" / "smoke", "download": False}
    again = study.study.Study(setting=study.settings.SMOKE, **settings).results()
    assert capsys.readouterr().out.splitlines()[-1:] == ["measuring svhn-ae-latent"]
    assert again == results
    _read_the_page(first["tabacof2016.md"].decode(), first, results)

    with pytest.raises(SystemExit, match="holds a run of other settings"):
        study.study.Study(setting=study.settings.REDUCED, **settings)
    for name in ("mnist", "svhn"):
        assert first["tabacof2016.html"].decode().count(f'class="viewer" id="{name}-pair-') == study.attacking.PICTURED


def _read_the_page(text: str, files: dict[str, bytes], results: dict) -> None:
    """Every figure that it shows is there, and every claim has a verdict."""
    shown = re.findall(r"\]\((tabacof2016\.[^)]*svg)\)", text)
    assert shown
    assert set(shown) == {name for name in files if name.endswith(".svg")}
    assert "**Pending**, because the data were not at hand: Fashion-MNIST" in text
    assert results["versions"]["vaeaudit"] in text
    verdicts = re.findall(r"^- \*\*(holds|does not hold|not settled)\*\*", text, re.MULTILINE)
    for verdict in ("holds", "does not hold", "not settled"):
        assert f"{verdict}: {verdicts.count(verdict)}" in text
    assert "epochs of the dense models 80 instead of 50" in text


def test_where_no_data_are_at_hand_all_is_pending(study: ModuleType, tmp_path: Path) -> None:
    files = study.__main__.main(["--data", str(tmp_path), "--out", str(tmp_path / "run"), "--setting", "smoke"])
    text = next(file for file in files if file.suffix == ".md").read_text()
    pending = next(line for line in text.splitlines() if line.startswith("**Pending**"))
    assert all(duel.title in pending for duel in study.settings.DUELS)
    assert text.count("| AE, ours | pending |") == 2
    assert "| VAE, the paper's curves | 0.383 | 0.005 |" in text, "SVHN's reference figures stand there already"
    assert not list((tmp_path / "run" / "smoke").glob("*.npz"))


def test_data_come_in_the_papers_units(study: ModuleType, fashion_folder: Path, svhn_folder: Path) -> None:
    svhn = study.images.load("svhn", svhn_folder, download=False)
    assert svhn.train.shape == (120, 3, 32, 32)
    assert float(svhn.train.max()) <= svhn.bounds[1]
    assert svhn.bounds == pytest.approx(
        (-115.11177966923525 / 50.819267906232888, 139.88822033076475 / 50.819267906232888), rel=1e-9
    )
    assert set(svhn.test_labels) == set(range(10))
    fashion = study.images.load("fashion", fashion_folder, download=False)
    assert fashion.test.shape == (300, 1, 32, 32)
    assert float(fashion.test[:, :, :2].max()) == pytest.approx(fashion.bounds[0])
    for original, target in svhn.pairs(20):
        assert svhn.test_labels[original] != svhn.test_labels[target]


def trial(hinges: list[float], *, floor: float = 0.0, lift: float = 0.0) -> dict:
    """Exact broken sticks, a pair a hinge, and what a fit would say of them; `lift` bends what lies between."""
    x = np.linspace(0, 1.2, 61)
    y = [floor + (1 - floor) * np.maximum(0, 1 - x / h) + lift * x * (1.2 - x) for h in hinges]
    one = [1.0] * len(hinges)
    return {
        "distortion": [x.tolist()] * len(hinges), "gap": [row.tolist() for row in y], "own": [x.tolist()] * len(hinges), "grey": [x.tolist()] * len(hinges),
        "strengths": x.tolist(), "hinge": hinges, "floor": [floor] * len(hinges), "slope": one, "linearity": one,
        "auddc": [h / 2 for h in hinges], "reach": one, "reconstruction_error": one, "r_squared": one, "best": [3] * len(hinges),
        "censored": [False] * len(hinges), "excluded": [False] * len(hinges), "disagreement": [0.1] * len(hinges),
        "widening": [1.0] * len(hinges), "evaluations": 1, "converged": 1.0,
    }  # fmt: skip


def duel(vae: dict, ae: dict, **more: dict) -> dict:
    return {
        "title": "constructed", "published_pairs": False, "pairs": [[0, 1]] * len(vae["hinge"]),
        "attacks": {"vae": {"latent": vae, **more}, "ae": {"latent": ae}},
    }  # fmt: skip


LOW = [0.42, 0.45, 0.47, 0.5, 0.52, 0.55, 0.58, 0.6]
HIGH = [h + 0.1 + 0.01 * i for i, h in enumerate(LOW)]


def verdicts(study: ModuleType, found: dict) -> list[str]:
    return [claim.verdict for claim in study.claims.claims({"duels": {"one": found}, "classifiers": {}})["one"]]


def test_verdicts_follow_the_figures(study: ModuleType) -> None:
    assert verdicts(study, duel(trial(HIGH), trial(LOW))) == ["holds"] * 4
    assert verdicts(study, duel(trial(LOW), trial(HIGH)))[2:] == ["does not hold"] * 2
    assert verdicts(study, duel(trial(LOW), trial(LOW[::-1])))[2:] == ["not settled"] * 2
    beyond = [h + 0.6 for h in LOW]
    assert verdicts(study, duel(trial(beyond), trial(LOW)))[1] == "does not hold"
    bent = {**trial(LOW), "linearity": [0.5 + h / 10 for h in LOW]}
    assert verdicts(study, duel(bent, trial(LOW)))[0] == "does not hold"


def test_the_floor_and_the_direct_attack_are_judged_by_their_differences(study: ModuleType) -> None:
    raised = {**trial(LOW, floor=0.11), "widening": [2.0 + h / 100 for h in LOW]}
    found = duel(trial(LOW), trial(LOW), kl_tabacof2016=raised, output=trial(LOW, lift=0.4))
    assert verdicts(study, found)[4:] == ["holds", "holds", "not settled", "holds"]
    found = duel(trial(LOW, lift=0.4), trial(LOW), kl_tabacof2016=trial(LOW), output=trial(LOW))
    assert verdicts(study, found)[4:] == ["not settled", "not settled", "not settled", "does not hold"]
    apart, beside = study.comparing.beside_output(duel(trial(LOW), trial(LOW), output=trial(LOW, lift=0.4)), "vae", 0.5)
    assert beside == pytest.approx(0.5, abs=1e-9)
    at = np.array(LOW) / 2
    assert apart.mean.value == pytest.approx(float((0.4 * at * (1.2 - at)).mean()), abs=2e-4)


def test_the_pictured_pairs_are_shown_at_the_papers_strength_and_over_the_series(study: ModuleType) -> None:
    events, figures = np.zeros((2, 4, 1, 4, 4), np.float32), np.arange(8.0).reshape(2, 4)
    found = {
        "strengths": np.logspace(-3, 3, 4), "distortion": figures, "gap": -figures, "best": np.array([1, 2]),
        "pictures": events, "reconstructions": events,
    }  # fmt: skip
    data = study.images.Images(
        train=torch.zeros(4, 1, 4, 4), train_labels=np.arange(4), test=torch.zeros(4, 1, 4, 4), test_labels=np.arange(4),
        bounds=(0.0, 1.0),
    )  # fmt: skip
    stills, first, second = study.pictures.pictures(study.settings.MNIST, data, {"vae": found, "ae": found})
    assert (first.first, second.first) == (2, 1), "frames run from the strongest C to the weakest"
    assert second.frames[2] == "C = 0.1. VAE: distortion 5.00, gap -5.00. AE: distortion 5.00, gap -5.00."
    assert stills.file.count("<image") == 12


def test_a_clear_difference_in_reach_is_said(study: ModuleType) -> None:
    wide = {**trial(LOW), "reach": [2.0 + h / 10 for h in LOW]}
    assert any("reach of the two models differs" in line for line in study.sections._text(duel(wide, trial(LOW))))
    assert not any("reach of the two" in line for line in study.sections._text(duel(trial(HIGH), trial(LOW))))


def test_pairs_that_cannot_be_used_are_left_out_of_differences(study: ModuleType) -> None:
    vae, ae = trial(HIGH), trial(LOW)
    vae["excluded"] = [True] + [False] * 7
    vae["hinge"] = [None, *HIGH[1:]]
    ae["censored"] = [False] * 7 + [True]
    assert study.comparing.between(duel(vae, ae), "hinge").mean.n == 6
    assert study.comparing.between(duel(vae, ae), "auddc").mean.n == 7


def test_the_best_strength_is_the_papers(study: ModuleType) -> None:
    """The reconstruction moves from the target, at 1, to the original, at 0; it is nearer to it from index 3 on."""
    decoded = torch.tensor([[1.0, 0.9, 0.6, 0.4, 0.1], [0.2, 0.9, 0.9, 0.9, 0.9], [0.9] * 5])[..., None]
    assert study.attacking.best(decoded, torch.zeros(3, 1), torch.ones(3, 1)).tolist() == [2, 0, 4]
